-- Gateway links that can be taken back or counted: their rows, never their tokens.

-- migrate:up

CREATE TABLE links (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    call_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text,
    expires_at timestamptz NOT NULL,
    max_uses integer CHECK (max_uses > 0),
    ip_cidr cidr,
    revoked_at timestamptz,
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls (tenant_id, id)
);
COMMENT ON COLUMN links.created_by IS 'the credential''s id, never its secret';
COMMENT ON COLUMN links.max_uses IS 'playbacks it is good for; null: any number';
COMMENT ON COLUMN links.ip_cidr IS 'network it is good from; null: any';
CREATE INDEX links_call ON links (tenant_id, call_id, created_at DESC);
CREATE INDEX links_over ON links (expires_at);

CREATE TABLE link_uses (
    link_id uuid NOT NULL REFERENCES links ON DELETE CASCADE,
    session uuid NOT NULL,
    listener uuid NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (link_id, session)
);
COMMENT ON TABLE link_uses IS 'one row for each playback by a link with max_uses';
COMMENT ON COLUMN link_uses.session IS 'the playback, as the audit calls it';
COMMENT ON COLUMN link_uses.listener IS 'hashed from address and player';

-- A link that was taken back stays so.
CREATE TRIGGER links_stay_revoked BEFORE UPDATE ON links FOR EACH ROW
    WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER links_tell AFTER UPDATE OR DELETE ON links
    FOR EACH ROW EXECUTE FUNCTION tell_change('link', 'id');

-- The playback that a request by link `this` belongs to, counted if it is a new one; null: the link's uses are spent.
--
-- It is known by `playback`, or by its listener where that one was seen within `idle`: by whichever replica. Whoever
-- counts holds the link's row: replicas that ask at once are counted one after the other.
CREATE FUNCTION use_link(this uuid, playback uuid, who uuid, idle interval) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    allowed integer;
    known uuid;
BEGIN
    SELECT max_uses INTO allowed FROM public.links WHERE id = this FOR NO KEY UPDATE;
    SELECT u.session INTO known FROM public.link_uses u
        WHERE u.link_id = this
            AND (u.session = playback OR (u.listener = who AND u.seen_at > clock_timestamp() - idle))
        ORDER BY u.session = playback DESC, u.seen_at DESC LIMIT 1;
    IF FOUND THEN
        UPDATE public.link_uses u SET seen_at = clock_timestamp() WHERE u.link_id = this AND u.session = known;
        RETURN known;
    END IF;
    IF allowed IS NULL OR (SELECT count(*) FROM public.link_uses u WHERE u.link_id = this) >= allowed THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.link_uses (link_id, session, listener) VALUES (this, playback, who);
    RETURN playback;
END
$$;

-- Forgets links that were over a month ago, with their uses. Returns how many.
CREATE FUNCTION forget_links() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (DELETE FROM public.links WHERE expires_at < now() - interval '30 days' RETURNING id)
    SELECT count(*) FROM gone
$$;

REVOKE ALL ON FUNCTION use_link, forget_links FROM PUBLIC;
GRANT EXECUTE ON FUNCTION use_link, forget_links TO recording_gateway;
GRANT SELECT, INSERT, UPDATE (revoked_at) ON links TO recording_gateway;
GRANT SELECT ON link_uses TO recording_gateway;

-- migrate:down

DROP FUNCTION use_link, forget_links;
DROP TABLE link_uses, links;
