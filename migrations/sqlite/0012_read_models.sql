-- The read models stand in a file of their own; see views/0003_read_models.sql.
select 1;
