-- The read model `reports` stands in the file of the read models; see views/0002_reports.sql.
select 1;
