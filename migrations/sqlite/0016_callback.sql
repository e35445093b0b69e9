-- The read models stand in a file of their own; see views/0016_callback.sql.
select 1;
