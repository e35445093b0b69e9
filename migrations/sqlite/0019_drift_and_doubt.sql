-- What the reports of drift and of doubt are made of: one narrow row per finding and per doubt.
--
-- On SQLite read models stand in a file of their own: see views/0019_drift_and_doubt.sql. Nothing to change here.
select 1;
