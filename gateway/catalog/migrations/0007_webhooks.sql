-- Events, where they go, and how that went. An event is written in the transaction of what it tells of, and in the same one
-- the database itself makes a delivery of it for each endpoint: nobody who writes an event can forget one.

-- migrate:up

CREATE TABLE webhook_endpoints (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    description text NOT NULL DEFAULT '' CHECK (length(description) <= 200),
    secret text,
    former_secret text,
    former_until timestamptz,
    enabled boolean NOT NULL DEFAULT true,
    disabled_reason text CHECK (disabled_reason IN ('asked', 'gone', 'failing')),
    failing_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (tenant_id, id),
    CONSTRAINT webhook_endpoints_off_says_why CHECK (enabled = (disabled_reason IS NULL)),
    CONSTRAINT webhook_endpoints_former_is_whole CHECK ((former_secret IS NULL) = (former_until IS NULL)),
    CONSTRAINT webhook_endpoints_deleted_keeps_no_secret CHECK (
        (deleted_at IS NULL) = (secret IS NOT NULL)
        AND (deleted_at IS NULL OR (former_secret IS NULL AND NOT enabled))
    )
);
COMMENT ON COLUMN webhook_endpoints.secret IS 'whsec_…, or sealed:… where webhooks.secret_keys has a key';
COMMENT ON COLUMN webhook_endpoints.former_secret IS 'signs as well until former_until';
COMMENT ON COLUMN webhook_endpoints.failing_since IS 'the first failure since it last took anything';
CREATE INDEX webhook_endpoints_tenant ON webhook_endpoints (tenant_id, created_at) WHERE deleted_at IS NULL;

-- What is sent is what was written, to the byte: jsonb would put it in another order.
DROP INDEX webhook_outbox_due;
ALTER TABLE webhook_outbox
    ALTER COLUMN payload TYPE json,
    ADD COLUMN endpoint_id uuid,
    ADD UNIQUE (tenant_id, id),
    ADD FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id),
    DROP COLUMN attempts,
    DROP COLUMN next_attempt_at,
    DROP COLUMN last_attempt_at,
    DROP COLUMN last_error,
    DROP COLUMN delivered_at,
    DROP COLUMN abandoned_at;
COMMENT ON TABLE webhook_outbox IS 'events; what becomes of each is in webhook_deliveries';
COMMENT ON COLUMN webhook_outbox.id IS 'the webhook-id: the same at every attempt, and for every endpoint';
COMMENT ON COLUMN webhook_outbox.endpoint_id IS 'the one endpoint it is for; null: all of the tenant''s';
CREATE INDEX webhook_outbox_oldest ON webhook_outbox (created_at);

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'dropped')),
    due_at timestamptz NOT NULL DEFAULT now(),
    lease uuid,
    attempts integer NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    UNIQUE (event_id, endpoint_id),
    FOREIGN KEY (tenant_id, event_id) REFERENCES webhook_outbox (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id),
    CONSTRAINT webhook_deliveries_settled_says_when CHECK ((state = 'pending') = (settled_at IS NULL))
);
COMMENT ON COLUMN webhook_deliveries.state IS 'failed: the schedule is used up; dropped: the endpoint was switched off first';
COMMENT ON COLUMN webhook_deliveries.due_at IS 'of a pending one: when it may be taken; while somebody has it, when the lease ends';
COMMENT ON COLUMN webhook_deliveries.lease IS 'whoever took it last; only he may settle it';
COMMENT ON COLUMN webhook_deliveries.attempts IS 'ever begun';
COMMENT ON COLUMN webhook_deliveries.tries IS 'ended in failure since it was last put on the schedule';
CREATE INDEX webhook_deliveries_due_of_endpoint ON webhook_deliveries (endpoint_id, due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (endpoint_id, created_at DESC, id DESC);

CREATE TABLE webhook_attempts (
    delivery_id uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    at timestamptz NOT NULL,
    took_ms integer NOT NULL CHECK (took_ms >= 0),
    status integer,
    error text CHECK (error ~ '^[a-z_]{1,32}$'),
    PRIMARY KEY (delivery_id, number)
);
COMMENT ON TABLE webhook_attempts IS 'those that ended; a number that is missing was cut off by the end of its process';
COMMENT ON COLUMN webhook_attempts.status IS 'null: there was no answer';
COMMENT ON COLUMN webhook_attempts.error IS 'null: it was taken';

CREATE FUNCTION deliver_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.webhook_deliveries (tenant_id, event_id, endpoint_id)
        SELECT NEW.tenant_id, NEW.id, e.id FROM public.webhook_endpoints e
        WHERE e.tenant_id = NEW.tenant_id AND e.enabled AND (NEW.endpoint_id IS NULL OR e.id = NEW.endpoint_id);
    IF FOUND THEN
        PERFORM pg_notify('recording_gateway', 'webhook:due');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER webhook_outbox_deliver AFTER INSERT ON webhook_outbox
    FOR EACH ROW EXECUTE FUNCTION deliver_event();

-- Deletes up to 1000 events older than `age`, at least a week, with what is known of their deliveries: none of which is
-- pending. Returns how many it deleted.
CREATE FUNCTION prune_webhook_log(age interval) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pruned integer;
BEGIN
    DELETE FROM public.webhook_outbox o WHERE o.id IN (
        SELECT old.id FROM public.webhook_outbox old
        WHERE old.created_at < now() - greatest(age, interval '7 days') AND NOT EXISTS (
            SELECT FROM public.webhook_deliveries d WHERE d.event_id = old.id AND d.state = 'pending'
        )
        ORDER BY old.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;
REVOKE ALL ON FUNCTION deliver_event, prune_webhook_log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_webhook_log TO recording_gateway;

-- Neither an event nor a delivery goes away, or becomes another's, by the service's own hand.
REVOKE UPDATE, DELETE ON webhook_outbox FROM recording_gateway;
GRANT SELECT, INSERT ON webhook_endpoints, webhook_attempts TO recording_gateway;
GRANT UPDATE (
    url, description, secret, former_secret, former_until, enabled, disabled_reason, failing_since, updated_at, deleted_at
) ON webhook_endpoints TO recording_gateway;
GRANT SELECT, UPDATE (state, due_at, lease, attempts, tries, settled_at) ON webhook_deliveries TO recording_gateway;

-- migrate:down

DROP TRIGGER webhook_outbox_deliver ON webhook_outbox;
DROP FUNCTION prune_webhook_log, deliver_event;
DROP TABLE webhook_attempts, webhook_deliveries;
DROP INDEX webhook_outbox_oldest;
ALTER TABLE webhook_outbox
    DROP COLUMN endpoint_id,
    DROP CONSTRAINT webhook_outbox_tenant_id_id_key,
    ALTER COLUMN payload TYPE jsonb,
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN next_attempt_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN last_attempt_at timestamptz,
    ADD COLUMN last_error text,
    ADD COLUMN delivered_at timestamptz,
    ADD COLUMN abandoned_at timestamptz;
DROP TABLE webhook_endpoints;
CREATE INDEX webhook_outbox_due ON webhook_outbox (next_attempt_at)
    WHERE delivered_at IS NULL AND abandoned_at IS NULL;
GRANT UPDATE, DELETE ON webhook_outbox TO recording_gateway;
