-- What holds a delivery back is looked up by subject. SQLite, which keeps no numbers of a table, takes the index that fits
-- most of the question, and that is the right one. Nothing to change here.
select 1;
