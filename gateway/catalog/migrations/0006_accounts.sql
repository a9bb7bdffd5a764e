-- An account keeps its slug and a department its account, whoever asks; and only what has changed is told to the replicas, so
-- that a setting put twice, or a call registered again and again, costs nobody's memory.

-- migrate:up

REVOKE UPDATE ON tenants, departments FROM recording_gateway;
GRANT UPDATE (name, recording_enabled, transcription_enabled, retention_days) ON tenants TO recording_gateway;
GRANT UPDATE (name) ON departments TO recording_gateway;

DROP TRIGGER tenants_tell ON tenants;
CREATE TRIGGER tenants_tell AFTER UPDATE ON tenants
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION tell_change('tenant', 'id');
CREATE TRIGGER tenants_tell_end AFTER DELETE ON tenants
    FOR EACH ROW EXECUTE FUNCTION tell_change('tenant', 'id');

DROP TRIGGER calls_tell ON calls;
CREATE TRIGGER calls_tell AFTER UPDATE ON calls
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION tell_change('call', 'id');
CREATE TRIGGER calls_tell_end AFTER DELETE ON calls
    FOR EACH ROW EXECUTE FUNCTION tell_change('call', 'id');

-- migrate:down

DROP TRIGGER calls_tell_end ON calls;
DROP TRIGGER calls_tell ON calls;
CREATE TRIGGER calls_tell AFTER UPDATE OR DELETE ON calls
    FOR EACH ROW EXECUTE FUNCTION tell_change('call', 'id');

DROP TRIGGER tenants_tell_end ON tenants;
DROP TRIGGER tenants_tell ON tenants;
CREATE TRIGGER tenants_tell AFTER UPDATE OR DELETE ON tenants
    FOR EACH ROW EXECUTE FUNCTION tell_change('tenant', 'id');

REVOKE UPDATE (name) ON departments FROM recording_gateway;
REVOKE UPDATE (name, recording_enabled, transcription_enabled, retention_days) ON tenants FROM recording_gateway;
GRANT UPDATE ON tenants, departments TO recording_gateway;
