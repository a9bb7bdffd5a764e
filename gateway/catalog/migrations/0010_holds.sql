-- Why a recording is held, and since when. What is held does not expire, and what has expired can't be held any more.

-- migrate:up

ALTER TABLE recordings
    ADD COLUMN hold_reason text CHECK (length(hold_reason) <= 500),
    ADD COLUMN hold_since timestamptz,
    ADD CONSTRAINT recordings_held_stay CHECK (NOT (hold AND state = 'expired'));
COMMENT ON COLUMN recordings.hold_since IS 'when the hold was placed; null where it was set by other means, or is not';

-- migrate:down

ALTER TABLE recordings DROP CONSTRAINT recordings_held_stay, DROP COLUMN hold_since, DROP COLUMN hold_reason;
