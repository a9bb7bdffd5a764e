-- What the gateway knows of tenants, calls and their recordings. PostgreSQL 15 or later; no extensions.
-- Every foreign key carries tenant_id, so that no row can point into another tenant.

-- migrate:up

-- The role that service connections take on. It belongs to the whole server: another database, or an administrator, may have
-- made it. Where whoever migrates may neither make nor grant it, both are the administrator's to do beforehand.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'recording_gateway') THEN
        BEGIN
            CREATE ROLE recording_gateway NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    IF current_user <> 'recording_gateway' THEN
        BEGIN
            EXECUTE format('GRANT recording_gateway TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END IF;
END
$$;

CREATE TABLE tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text NOT NULL,
    recording_enabled boolean NOT NULL DEFAULT true,
    transcription_enabled boolean NOT NULL DEFAULT false,
    retention_days integer CHECK (retention_days > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN tenants.retention_days IS 'days that recordings are kept; null: for ever';

CREATE TABLE departments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id)
);

CREATE TABLE calls (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants,
    department_id uuid,
    direction text CHECK (direction IN ('inbound', 'outbound', 'internal')),
    from_number text,
    to_number text,
    voice_agent boolean NOT NULL DEFAULT false,
    started_at timestamptz,
    answered_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, department_id) REFERENCES departments (tenant_id, id) ON DELETE SET NULL (department_id)
);
CREATE INDEX calls_department ON calls (tenant_id, department_id) WHERE department_id IS NOT NULL;

CREATE TABLE call_aliases (
    tenant_id uuid NOT NULL,
    surface text NOT NULL CHECK (surface ~ '^[a-z][a-z0-9_]{0,31}$'),
    external_id text NOT NULL CHECK (length(external_id) BETWEEN 1 AND 255),
    call_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, surface, external_id),
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX call_aliases_call ON call_aliases (tenant_id, call_id);
-- A surface without credentials finds the tenant by the id alone.
CREATE UNIQUE INDEX call_aliases_public ON call_aliases (surface, external_id) WHERE surface = 'agentphone';

CREATE TABLE recordings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    call_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'processing', 'ready', 'failed', 'expired')),
    store text CHECK (store <> ''),
    key text CHECK (key <> ''),
    media_type text,
    size bigint CHECK (size >= 0),
    etag text CHECK (etag ~ '^"[^"]+"$'),
    version text CHECK (version <> ''),
    modified timestamptz,
    duration_ms bigint CHECK (duration_ms >= 0),
    channels smallint CHECK (channels > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ready_at timestamptz,
    expires_at timestamptz,
    retention_days integer CHECK (retention_days > 0),
    hold boolean NOT NULL DEFAULT false,
    failure text,
    UNIQUE (tenant_id, call_id),
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls (tenant_id, id),
    CONSTRAINT recordings_place_is_whole CHECK ((store IS NULL) = (key IS NULL)),
    CONSTRAINT recordings_stat_is_whole CHECK (
        num_nonnulls(media_type, size, etag, version, modified) = 0
        OR num_nonnulls(store, media_type, size, etag, version, modified) = 6
    ),
    CONSTRAINT recordings_ready_is_known CHECK (
        state <> 'ready' OR num_nonnulls(store, key, media_type, size, etag, version, modified, ready_at) = 8
    ),
    CONSTRAINT recordings_failed_says_why CHECK (state <> 'failed' OR failure IS NOT NULL)
);
COMMENT ON COLUMN recordings.etag IS 'a strong entity-tag with its quotes, as clients see it';
COMMENT ON COLUMN recordings.version IS 'what reads are pinned to, in the store''s own terms';
COMMENT ON COLUMN recordings.retention_days IS 'in place of the tenant''s';
COMMENT ON COLUMN recordings.hold IS 'retention never touches it';
CREATE INDEX recordings_newest ON recordings (tenant_id, created_at DESC, id DESC);

CREATE TABLE transcripts (
    call_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'processing', 'ready', 'failed')),
    language text,
    text text,
    segments jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls (tenant_id, id)
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL,
    hint text NOT NULL,
    sha256 bytea NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    scopes text[] NOT NULL,
    role text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, created_at);
COMMENT ON COLUMN api_keys.hint IS 'prefix and last four characters: the key itself is never kept';

CREATE TABLE webhook_outbox (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    type text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_attempt_at timestamptz,
    last_error text,
    delivered_at timestamptz,
    abandoned_at timestamptz
);
COMMENT ON COLUMN webhook_outbox.id IS 'the webhook-id: the same at every attempt';
CREATE INDEX webhook_outbox_due ON webhook_outbox (next_attempt_at)
    WHERE delivered_at IS NULL AND abandoned_at IS NULL;

-- Recordings are not deleted one by one: what is over stays as an `expired` row.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: its rows are kept', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER recordings_keep BEFORE DELETE ON recordings FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER recordings_keep_all BEFORE TRUNCATE ON recordings EXECUTE FUNCTION refuse_change();

-- A department goes only while none of its calls has a recording. Whoever adds a recording holds the department's row
-- against deletion until commit; the deleting side has locked that row before it looks: neither can miss the other.

CREATE FUNCTION hold_department() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM departments d JOIN calls c ON c.tenant_id = d.tenant_id AND c.department_id = d.id
        WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.call_id FOR KEY SHARE OF d;
    RETURN NEW;
END
$$;
CREATE TRIGGER recordings_hold_department BEFORE INSERT ON recordings
    FOR EACH ROW EXECUTE FUNCTION hold_department();

CREATE FUNCTION refuse_department_with_recordings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM calls c JOIN recordings r ON r.tenant_id = c.tenant_id AND r.call_id = c.id
        WHERE c.tenant_id = OLD.tenant_id AND c.department_id = OLD.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'department % has calls with recordings', OLD.id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER departments_keep BEFORE DELETE ON departments
    FOR EACH ROW EXECUTE FUNCTION refuse_department_with_recordings();

-- What a replica may hold in memory is told to all of them at commit. A new call or key is in nobody's memory yet.

CREATE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('recording_gateway', TG_ARGV[0] || ':' || (to_jsonb(OLD) ->> TG_ARGV[1]));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('recording_gateway', TG_ARGV[0] || ':' || (to_jsonb(NEW) ->> TG_ARGV[1]));
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION tell_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('recording_gateway', 'key:' || encode(OLD.sha256, 'hex'));
    RETURN NULL;
END
$$;
CREATE TRIGGER tenants_tell AFTER UPDATE OR DELETE ON tenants
    FOR EACH ROW EXECUTE FUNCTION tell_change('tenant', 'id');
CREATE TRIGGER calls_tell AFTER UPDATE OR DELETE ON calls
    FOR EACH ROW EXECUTE FUNCTION tell_change('call', 'id');
CREATE TRIGGER call_aliases_tell AFTER INSERT OR UPDATE OR DELETE ON call_aliases
    FOR EACH ROW EXECUTE FUNCTION tell_change('call', 'call_id');
CREATE TRIGGER recordings_tell AFTER INSERT OR UPDATE ON recordings
    FOR EACH ROW EXECUTE FUNCTION tell_change('call', 'call_id');
CREATE TRIGGER api_keys_tell AFTER UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION tell_key_change();

GRANT USAGE ON SCHEMA public TO recording_gateway;
GRANT SELECT ON schema_migrations TO recording_gateway;
GRANT SELECT, INSERT, UPDATE ON tenants, calls, recordings, transcripts, api_keys TO recording_gateway;
GRANT SELECT, INSERT ON call_aliases TO recording_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON departments, webhook_outbox TO recording_gateway;

-- migrate:down

DROP TABLE webhook_outbox, api_keys, transcripts, recordings, call_aliases, calls, departments, tenants;
DROP FUNCTION tell_key_change, tell_change, refuse_department_with_recordings, hold_department, refuse_change;
REVOKE ALL ON schema_migrations FROM recording_gateway;
REVOKE ALL ON SCHEMA public FROM recording_gateway;
