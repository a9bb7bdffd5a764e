-- The order in which access records arrive, which is not that of their times: one that waited in a journal comes late.
-- Whoever follows the audit reads what arrived in transactions from one he remembers up to the oldest that still runs,
-- and so sees every row, once.

-- migrate:up

ALTER TABLE access_events ADD COLUMN arrived xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE access_outcomes ADD COLUMN arrived xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX ON access_events (arrived);
CREATE INDEX ON access_outcomes (arrived);

-- migrate:down

ALTER TABLE access_events DROP COLUMN arrived;
ALTER TABLE access_outcomes DROP COLUMN arrived;
