-- Who touched which recording, and how it ended. Rows are only ever added. They refer to nothing by foreign key: an access
-- record is taken whatever became of what it names.

-- migrate:up

CREATE TABLE access_events (
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    surface text NOT NULL,
    method text NOT NULL,
    tenant uuid,
    actor_kind text NOT NULL,
    actor_id text,
    credential_id text,
    auth_method text,
    scopes text[] NOT NULL,
    role text,
    address text NOT NULL,
    peer text NOT NULL,
    user_agent text,
    request_id text NOT NULL,
    trace_id text,
    call uuid,
    recording uuid,
    etag text,
    range_asked text,
    session uuid,
    PRIMARY KEY (event_id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX ON access_events (tenant, occurred_at DESC);
CREATE INDEX ON access_events (recording, occurred_at DESC);
CREATE INDEX ON access_events (session) WHERE session IS NOT NULL;
CREATE INDEX ON access_events USING brin (occurred_at);
COMMENT ON COLUMN access_events.address IS 'the client''s, as far as trusted proxies tell it; text, for a proxy may say anything';

CREATE TABLE access_outcomes (
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    completed_at timestamptz NOT NULL,
    status integer NOT NULL,
    bytes_sent bigint,
    result text NOT NULL,
    reason text,
    PRIMARY KEY (event_id, occurred_at)
) PARTITION BY RANGE (occurred_at);
COMMENT ON COLUMN access_outcomes.occurred_at IS 'the event''s: the two share a month';
COMMENT ON COLUMN access_outcomes.bytes_sent IS 'null: not known, the gateway''s process ended first';

CREATE VIEW accesses WITH (security_invoker = true) AS
    SELECT e.*, o.completed_at, o.status, o.bytes_sent, o.result, o.reason
    FROM access_events e LEFT JOIN access_outcomes o USING (event_id, occurred_at);

CREATE TRIGGER access_events_keep BEFORE UPDATE OR DELETE ON access_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER access_events_keep_all BEFORE TRUNCATE ON access_events EXECUTE FUNCTION refuse_change();
CREATE TRIGGER access_outcomes_keep BEFORE UPDATE OR DELETE ON access_outcomes
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER access_outcomes_keep_all BEFORE TRUNCATE ON access_outcomes EXECUTE FUNCTION refuse_change();

-- Partitions for the month before `at`, its own and `months_ahead` after it, months being UTC's. Returns how many it made.
--
-- There is no default partition on purpose: a month that has rows there could never get a partition of its own, for rows
-- here don't move. A row without a partition is refused with check_violation (23514) and is still in its journal: call this
-- with the row's time, and write it again.
--
-- A partition is made apart and attached, so that writers are not kept waiting. Triggers on TRUNCATE are not inherited.
CREATE FUNCTION ensure_access_partitions(months_ahead integer, at timestamptz DEFAULT now()) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent text;
    part text;
    first timestamp;
    made integer := 0;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'months_ahead must lie between 0 and 120' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH parent IN ARRAY ARRAY['access_events', 'access_outcomes'] LOOP
        FOR month IN -1..months_ahead LOOP
            first := date_trunc('month', at AT TIME ZONE 'UTC') + make_interval(months => month);
            part := parent || to_char(first, '_YYYY_MM');
            CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
            -- The lock that attaching takes anyway; whoever had to wait for it looks again.
            EXECUTE format('LOCK TABLE public.%I IN SHARE UPDATE EXCLUSIVE MODE', parent);
            CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', part, parent);
            EXECUTE format(
                'CREATE TRIGGER %I BEFORE TRUNCATE ON public.%I EXECUTE FUNCTION public.refuse_change()',
                part || '_keep_all', part
            );
            EXECUTE format(
                'ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                parent, part, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC'
            );
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION ensure_access_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_access_partitions TO recording_gateway;
GRANT SELECT, INSERT ON access_events, access_outcomes TO recording_gateway;
GRANT SELECT ON accesses TO recording_gateway;

SELECT ensure_access_partitions(3);

-- migrate:down

DROP VIEW accesses;
DROP TABLE access_outcomes, access_events;
DROP FUNCTION ensure_access_partitions;
