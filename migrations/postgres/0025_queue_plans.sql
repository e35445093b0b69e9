-- What holds a delivery back is looked up by subject, which belongs to one log. These indexes begin with it, so that no other
-- index can serve in their place, whatever the planner believes the table to hold.
drop index queue_subject;
create index queue_subject on queue (subject, due_at);
create index queue_doubt_subject on queue (subject, template) where state = 3;
