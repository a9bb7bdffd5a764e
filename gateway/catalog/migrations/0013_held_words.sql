-- What was said in a held recording stays what it is. Words that are not there yet may still come.

-- migrate:up

CREATE FUNCTION guard_transcript() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held boolean;
BEGIN
    -- Whoever places a hold waits for this change, or this for him: the row is locked whether or not it is held by now.
    SELECT r.hold INTO held FROM public.recordings r WHERE r.tenant_id = OLD.tenant_id AND r.call_id = OLD.call_id FOR SHARE;
    IF held THEN
        RAISE EXCEPTION 'call % is held, and its transcript stays as it is', OLD.call_id USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER transcripts_guard BEFORE UPDATE ON transcripts FOR EACH ROW
    WHEN (OLD.status = 'ready' AND (OLD.call_id, OLD.tenant_id, OLD.status, OLD.language, OLD.text, OLD.segments)
        IS DISTINCT FROM (NEW.call_id, NEW.tenant_id, NEW.status, NEW.language, NEW.text, NEW.segments))
    EXECUTE FUNCTION guard_transcript();
CREATE TRIGGER transcripts_guard_deletion BEFORE DELETE ON transcripts FOR EACH ROW
    WHEN (OLD.status = 'ready') EXECUTE FUNCTION guard_transcript();

-- migrate:down

DROP TRIGGER transcripts_guard_deletion ON transcripts;
DROP TRIGGER transcripts_guard ON transcripts;
DROP FUNCTION guard_transcript;
