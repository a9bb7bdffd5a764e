-- Whether a player finds a moment without all that lies before it, as an object's header says.

-- migrate:up

ALTER TABLE recordings ADD COLUMN seekable boolean;
COMMENT ON COLUMN recordings.seekable IS 'null: the object does not say';

-- migrate:down

ALTER TABLE recordings DROP COLUMN seekable;
