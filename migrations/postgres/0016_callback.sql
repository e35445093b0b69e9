-- How WeChat pushes to a channel, as JSON; null where it was never set. Rows that are there stay as they are.
alter table channels add column callback text collate "C";
