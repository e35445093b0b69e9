-- token: where the channel's tokens are asked for, and the last conflict that was suspected, JSON. Null where there is neither.
alter table channels add column token text;
