-- What serves an account's recordings to whoever knows a call's id is off until the account switches it on.

-- migrate:up

ALTER TABLE tenants ALTER COLUMN recording_enabled SET DEFAULT false;
COMMENT ON COLUMN tenants.recording_enabled IS 'its recordings are public to whoever knows a call''s id, on the surface where that is enough';

-- migrate:down

ALTER TABLE tenants ALTER COLUMN recording_enabled SET DEFAULT true;
