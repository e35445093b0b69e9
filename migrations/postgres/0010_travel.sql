-- Past states of everything about one subject are found by the beginning of its streams' names.
--
-- Names are compared byte by byte, whatever the language of the database: only then is "begins with" a range of the
-- index. The index is built anew; the rows are not touched.
alter table stream alter column name type text collate "C";
