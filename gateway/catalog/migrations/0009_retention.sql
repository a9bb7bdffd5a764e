-- How long recordings are kept, and what no statement may do to them meanwhile, whoever runs it. A recording is kept as long
-- as the longest of: its tenant's days, its own days, the time it was given. None of the three: for ever.

-- migrate:up

ALTER TABLE recordings
    ADD COLUMN kept_from timestamptz,
    ADD COLUMN object_deleted_at timestamptz;
COMMENT ON COLUMN recordings.kept_from IS 'what days are counted from, set once when it first is ready: its own start, else its call''s, else that moment';
COMMENT ON COLUMN recordings.expires_at IS 'kept at least until then; the tenant''s and its own days may be longer';
COMMENT ON COLUMN recordings.retention_days IS 'kept at least so many days; the tenant''s may be more';
COMMENT ON COLUMN recordings.object_deleted_at IS 'of an expired one: when its object was known to be gone from the store';
COMMENT ON COLUMN tenants.retention_days IS 'days that recordings are kept; null: as long as each says itself, else for ever';

-- Until when a recording is kept; null: for ever. Days are of 24 hours; a thousand years of them are enough.
CREATE FUNCTION kept_until(expires_at timestamptz, kept_from timestamptz, own_days integer, plan_days integer)
    RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN greatest(
        expires_at,
        (kept_from AT TIME ZONE 'UTC' + make_interval(days => nullif(least(greatest(own_days, plan_days, 0), 365000), 0)))
            AT TIME ZONE 'UTC'
    );

-- What is there already: an end that was reckoned from days is reckoned from now on, one that was given stays given.
ALTER TABLE recordings DISABLE TRIGGER recordings_tell;
UPDATE recordings r SET kept_from = coalesce(r.started_at, c.started_at, r.ready_at)
    FROM calls c WHERE c.tenant_id = r.tenant_id AND c.id = r.call_id AND r.ready_at IS NOT NULL;
UPDATE recordings r SET expires_at = NULL
    FROM tenants t WHERE t.id = r.tenant_id AND r.expires_at
        BETWEEN kept_until(NULL, r.kept_from, coalesce(r.retention_days, t.retention_days), NULL) - interval '1 hour'
        AND kept_until(NULL, r.kept_from, coalesce(r.retention_days, t.retention_days), NULL) + interval '1 hour';
ALTER TABLE recordings ENABLE TRIGGER recordings_tell;
SELECT count(pg_notify('recording_gateway', 'tenant:' || id)) FROM tenants;

-- What a sweep looks for: by the tenant's days, by what each says itself, and what it could not delete before.
CREATE INDEX recordings_kept ON recordings (tenant_id, kept_from, id)
    WHERE state <> 'expired' AND kept_from IS NOT NULL;
CREATE INDEX recordings_end ON recordings (tenant_id, kept_until(expires_at, kept_from, retention_days, NULL), id)
    WHERE state <> 'expired' AND kept_until(expires_at, kept_from, retention_days, NULL) IS NOT NULL;
CREATE INDEX recordings_undeleted ON recordings (tenant_id, id)
    WHERE state = 'expired' AND object_deleted_at IS NULL AND ready_at IS NOT NULL;
CREATE INDEX recordings_place ON recordings (store, key);

CREATE FUNCTION guard_recording() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    plan integer;
BEGIN
    IF (NEW.id, NEW.tenant_id, NEW.call_id, NEW.created_at) IS DISTINCT FROM (OLD.id, OLD.tenant_id, OLD.call_id, OLD.created_at)
        OR NEW.kept_from IS DISTINCT FROM OLD.kept_from
    THEN
        RAISE EXCEPTION 'recording % stays its call''s, from when it was', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state = 'expired' THEN
        IF NEW.hold AND NOT OLD.hold THEN
            RAISE EXCEPTION 'recording % has expired and can be held no more', OLD.id USING ERRCODE = 'check_violation';
        END IF;
        IF to_jsonb(NEW) - '{object_deleted_at,hold}'::text[] <> to_jsonb(OLD) - '{object_deleted_at,hold}'::text[]
            OR OLD.object_deleted_at <> NEW.object_deleted_at OR OLD.object_deleted_at IS NOT NULL AND NEW.object_deleted_at IS NULL
        THEN
            RAISE EXCEPTION 'recording % has expired and stays as it is', OLD.id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    -- Or another recording could be registered at its place, and end with the object.
    IF OLD.hold AND OLD.ready_at IS NOT NULL AND (NEW.store, NEW.key) IS DISTINCT FROM (OLD.store, OLD.key) THEN
        RAISE EXCEPTION 'recording % is held and stays where it lies', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state <> 'expired' AND NEW.object_deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'recording % has not expired', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'expired' THEN
        -- The plan as it is, once nobody is in the midst of changing it.
        SELECT t.retention_days INTO plan FROM public.tenants t WHERE t.id = NEW.tenant_id FOR SHARE;
        IF OLD.hold OR NEW.hold
            OR public.kept_until(NEW.expires_at, NEW.kept_from, NEW.retention_days, plan) <= now() IS NOT TRUE
        THEN
            RAISE EXCEPTION 'recording % is still kept', OLD.id USING ERRCODE = 'restrict_violation';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER recordings_guard BEFORE UPDATE ON recordings FOR EACH ROW EXECUTE FUNCTION guard_recording();

-- Named so that it runs after the guard.
CREATE FUNCTION reckon_recording() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.kept_from := coalesce(
        NEW.started_at,
        (SELECT c.started_at FROM public.calls c WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.call_id),
        now()
    );
    RETURN NEW;
END
$$;
CREATE TRIGGER recordings_reckon BEFORE INSERT OR UPDATE ON recordings
    FOR EACH ROW WHEN (NEW.state = 'ready' AND NEW.kept_from IS NULL) EXECUTE FUNCTION reckon_recording();

-- A call stays its tenant's; and one with a recording stays in its department, or emptying a department would be a way to
-- delete it.
CREATE FUNCTION guard_call() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.id, NEW.tenant_id) IS DISTINCT FROM (OLD.id, OLD.tenant_id) THEN
        RAISE EXCEPTION 'call % stays its tenant''s', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.department_id IS DISTINCT FROM NEW.department_id AND OLD.department_id IS NOT NULL THEN
        PERFORM FROM public.recordings r WHERE r.tenant_id = OLD.tenant_id AND r.call_id = OLD.id;
        IF FOUND THEN
            RAISE EXCEPTION 'call % has a recording and stays in its department', OLD.id USING ERRCODE = 'restrict_violation';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER calls_guard BEFORE UPDATE ON calls FOR EACH ROW EXECUTE FUNCTION guard_call();

-- A temporary table of the same name stands before a real one, unless the function says where it looks.
ALTER FUNCTION hold_department SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION refuse_department_with_recordings SET search_path = pg_catalog, public, pg_temp;

-- migrate:down

ALTER FUNCTION refuse_department_with_recordings RESET search_path;
ALTER FUNCTION hold_department RESET search_path;
DROP TRIGGER calls_guard ON calls;
DROP TRIGGER recordings_reckon ON recordings;
DROP TRIGGER recordings_guard ON recordings;
DROP FUNCTION guard_call, reckon_recording, guard_recording;
DROP INDEX recordings_place, recordings_undeleted, recordings_end, recordings_kept;
UPDATE recordings r SET expires_at = kept_until(r.expires_at, r.kept_from, r.retention_days, t.retention_days)
    FROM tenants t WHERE t.id = r.tenant_id;
DROP FUNCTION kept_until;
ALTER TABLE recordings DROP COLUMN object_deleted_at, DROP COLUMN kept_from;
