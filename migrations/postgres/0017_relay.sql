-- The relay of pushes to integrators' back ends.

-- Since when its relay is tried, where that is not since it came: when it was last begun anew.
alter table push add column relay_since bigint;

-- relay: where the pushes of the channel are relayed to, JSON. Nothing was relayed before, so rows stay as they are.
alter table channels add column relay text collate "C";
