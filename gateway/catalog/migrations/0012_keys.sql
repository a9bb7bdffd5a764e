-- A key once revoked stays so, and changes in nothing else: a key is made anew.

-- migrate:up

CREATE TRIGGER api_keys_stay_revoked BEFORE UPDATE ON api_keys FOR EACH ROW
    WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
    EXECUTE FUNCTION refuse_change();
REVOKE UPDATE ON api_keys FROM recording_gateway;
GRANT UPDATE (revoked_at) ON api_keys TO recording_gateway;

-- migrate:down

REVOKE UPDATE (revoked_at) ON api_keys FROM recording_gateway;
GRANT UPDATE ON api_keys TO recording_gateway;
DROP TRIGGER api_keys_stay_revoked ON api_keys;
