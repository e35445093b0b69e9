-- doubts that are older than a channel lets them be
create index queue_doubt_age on queue (log, since) where state = 3;
