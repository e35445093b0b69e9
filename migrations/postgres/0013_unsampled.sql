-- Statistics keep samples of the values they are made of. Of sealed values that would be a copy that outlives an erasure,
-- in pg_statistic, and nothing is ever searched by them. So none are made, and what there is goes with the (same) type.
alter table identity alter column sealed type bytea, alter column sealed set statistics 0;
alter table user_identity alter column sealed type bytea, alter column sealed set statistics 0;
alter table content alter column sealed type bytea, alter column sealed set statistics 0;
alter table secret alter column sealed type bytea, alter column sealed set statistics 0;
