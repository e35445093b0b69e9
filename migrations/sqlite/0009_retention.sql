-- What is kept for a time only: how to find it without reading everything.

-- When the message of these contents was found to have ended: no delivery of it waits, runs or is in doubt. Null until a
-- sweep has looked; the time they are kept runs from here.
alter table content add column ended_at integer;

-- not ended yet, by key; ended, by age
create index content_ended on content (ended_at, log, message, idx);

-- receipts by age, across logs; also "the receipts of this moment"
create index receipt_age on receipt (recorded_at);
