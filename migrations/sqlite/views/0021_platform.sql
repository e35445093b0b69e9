-- The third-party platform a channel was authorized to, as JSON; null where it never was. Rows that are there stay as they are.
alter table channels add column platform text;
