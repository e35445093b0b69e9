-- The read models stand in a file of their own; see views/0014_pushes.sql.
select 1;
