-- The relay of pushes to integrators' back ends.

-- Since when its relay is tried, where that is not since it came: when it was last begun anew.
alter table push add column relay_since integer;
