-- Past states of everything about one subject are found by the beginning of its streams' names.
--
-- Names are compared byte by byte, which SQLite does by itself; PostgreSQL has to be told. Nothing to change here.
select 1;
