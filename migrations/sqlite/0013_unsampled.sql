-- Statistics must hold no samples of sealed values, which would outlive an erasure.
--
-- SQLite's are counts, and samples of indexed columns at most; no sealed value is indexed. Nothing to change here.
select 1;
