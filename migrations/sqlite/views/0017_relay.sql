-- relay: where the pushes of the channel are relayed to, JSON. Nothing was relayed before, so rows stay as they are.
alter table channels add column relay text;
