-- Looking for recordings by number, call time and spoken words, and for accesses by who had them. Transcripts end with
-- their recordings.

-- migrate:up

-- How numbers are compared: by their digits, so that +1 (555) 0100, 0015550100 and 15550100 are one. What is no phone
-- number (a SIP address, `anonymous`) is compared as it is.
CREATE FUNCTION number_key(number text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN number ~ '^[-+0-9 ()./]*[0-9][-+0-9 ()./]*$'
        THEN regexp_replace(regexp_replace(number, '[^0-9]', '', 'g'), '^00(.)', '\1')
        ELSE number END;

CREATE INDEX calls_from ON calls (tenant_id, number_key(from_number));
CREATE INDEX calls_to ON calls (tenant_id, number_key(to_number));
CREATE INDEX calls_started ON calls (tenant_id, started_at);
CREATE INDEX recordings_state ON recordings (tenant_id, state, created_at DESC, id DESC);

-- The words of a transcript, whatever its language, and whose it is as one word more: the index leads to a tenant's own
-- rows without reading anybody else's. No text yields a word that begins with an @. A text with more different words than a
-- tsvector holds is found by those of its beginning. `spoken` comes without regard to case, for not every database knows
-- more letters than ASCII's.
CREATE FUNCTION transcript_words(tenant uuid, spoken text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    whose tsvector := array_to_tsvector(ARRAY['@' || tenant]);
BEGIN
    IF spoken IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN to_tsvector('pg_catalog.simple', spoken) || whose;
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN to_tsvector('pg_catalog.simple', left(spoken, 100000)) || whose;
END
$$;

ALTER TABLE transcripts ADD COLUMN words tsvector;
COMMENT ON COLUMN transcripts.words IS 'what transcript_words makes of the text; null: it is found by none';
UPDATE transcripts SET words = transcript_words(tenant_id, lower(text)) WHERE text IS NOT NULL;
CREATE INDEX transcripts_words ON transcripts USING gin (words);

CREATE TRIGGER transcripts_tell AFTER INSERT OR UPDATE OR DELETE ON transcripts
    FOR EACH ROW EXECUTE FUNCTION tell_change('call', 'call_id');

-- What was said is kept no longer than its recording.
CREATE FUNCTION forget_transcript() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.transcripts SET text = NULL, segments = NULL, words = NULL, updated_at = now()
        WHERE tenant_id = NEW.tenant_id AND call_id = NEW.call_id AND num_nonnulls(text, segments) > 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER recordings_forget_transcript AFTER UPDATE OF state ON recordings
    FOR EACH ROW WHEN (NEW.state = 'expired') EXECUTE FUNCTION forget_transcript();

CREATE INDEX ON access_events (call, occurred_at DESC) WHERE call IS NOT NULL;
CREATE INDEX ON access_events (tenant, actor_id, occurred_at DESC);

-- migrate:down

DROP INDEX access_events_call_occurred_at_idx, access_events_tenant_actor_id_occurred_at_idx;
DROP TRIGGER recordings_forget_transcript ON recordings;
DROP TRIGGER transcripts_tell ON transcripts;
ALTER TABLE transcripts DROP COLUMN words;
DROP INDEX recordings_state, calls_started, calls_to, calls_from;
DROP FUNCTION forget_transcript, transcript_words, number_key;
