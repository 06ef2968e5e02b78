-- Every change of a client, a key or a plan raises the one row of clients_version, once for its transaction, also when
-- it is made by hand. The lock of that row makes the changes follow each other, so that a reader who sees a version
-- sees all changes up to it. Each change stamps the rows it writes with its version and leaves a row in
-- clients_deleted for those it deletes; instances ask for what is newer than what they have.
CREATE TABLE clients_version (
    one_row    boolean     PRIMARY KEY DEFAULT true CHECK (one_row),
    version    bigint      NOT NULL,
    history    text        NOT NULL, -- random: versions of another database mean something else
    pruned     bigint      NOT NULL, -- what was deleted up to this version is not in clients_deleted any more
    changed_by bigint      NOT NULL, -- the transaction that raised the version, and its time: after a
    changed_at timestamptz NOT NULL  -- restore from a dump, the numbers of transactions may come again
);
INSERT INTO clients_version (version, history, pruned, changed_by, changed_at)
    VALUES (1, encode(sha256(convert_to(concat_ws(' ', random(), random(), random(), clock_timestamp(), pg_backend_pid()), 'UTF8')), 'hex'),
        0, 0, now());

CREATE TABLE clients_deleted (
    ip_address cidr,
    name       text        COLLATE "C",
    plan       text        COLLATE "C",
    version    bigint      NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now(),
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
CREATE INDEX clients_deleted_version_idx ON clients_deleted (version);

-- Terms that clients share.
CREATE TABLE plans (
    name            text             COLLATE "C" PRIMARY KEY,
    capacity        bigint           NOT NULL, -- tokens
    rate_per_second double precision NOT NULL, -- tokens per second
    max_in_flight   bigint,                    -- NULL: no bound
    created_at      timestamptz      NOT NULL DEFAULT now(),
    updated_at      timestamptz      NOT NULL DEFAULT now(),
    version         bigint           NOT NULL DEFAULT 0, -- given by a trigger
    CONSTRAINT plans_name_check CHECK
        (name ~ '^[A-Za-z0-9._@+-]{1,128}$' AND name !~ '^[0-9]+(\.[0-9]+){3}$' AND name NOT IN ('.', '..')),
    CONSTRAINT plans_limit_check CHECK
        (capacity BETWEEN 1 AND 999999999999999 AND rate_per_second > 0 AND rate_per_second <= 1e9
            AND capacity / rate_per_second <= 2592000), -- seconds, 30 days
    CONSTRAINT plans_max_in_flight_check CHECK (max_in_flight BETWEEN 1 AND 1000000000),
    CONSTRAINT plans_times_check CHECK (isfinite(created_at) AND isfinite(updated_at))
);
CREATE INDEX plans_version_idx ON plans (version);

CREATE FUNCTION clients_labels_valid(labels jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(labels) <> 'object' THEN false ELSE
        (SELECT count(*) BETWEEN 1 AND 16 AND coalesce(bool_and(jsonb_typeof(value) = 'string'
            AND octet_length(key) BETWEEN 1 AND 63 AND octet_length(value #>> '{}') <= 63), false)
            FROM jsonb_each(labels))
    END
$$;

-- The constraints refuse what could not be enforced. Rows that were there before are not looked at.
ALTER TABLE clients
    DROP CONSTRAINT clients_name_check,
    DROP CONSTRAINT clients_api_key_check,
    DROP CONSTRAINT clients_api_key_sha256_key,
    ALTER COLUMN capacity        DROP NOT NULL, -- NULL: the plan's, or of no account for a client that is blocked
    ALTER COLUMN rate_per_second DROP NOT NULL, -- NULL: as for capacity
    ALTER COLUMN created_at      SET DEFAULT now(),
    ALTER COLUMN updated_at      SET DEFAULT now(),
    ADD COLUMN plan       text        COLLATE "C" REFERENCES plans (name) ON UPDATE CASCADE,
    ADD COLUMN blocked    boolean     NOT NULL DEFAULT false,
    ADD COLUMN each       boolean     NOT NULL DEFAULT false, -- a bucket for each address of the range
    ADD COLUMN labels     jsonb,
    ADD COLUMN expires_at timestamptz,                        -- NULL: never
    ADD COLUMN version    bigint      NOT NULL DEFAULT 1,     -- given by a trigger
    ADD CONSTRAINT clients_name_check CHECK
        (name ~ '^[A-Za-z0-9._@+-]{1,128}$' AND name !~ '^[0-9]+(\.[0-9]+){3}$' AND name NOT IN ('.', '..')) NOT VALID,
    -- IPv4 is written as such.
    ADD CONSTRAINT clients_mapped_check CHECK (NOT ip_address <<= '::ffff:0:0/96') NOT VALID,
    ADD CONSTRAINT clients_key_of_name_check CHECK (name IS NOT NULL OR api_key_sha256 IS NULL) NOT VALID,
    ADD CONSTRAINT clients_plan_check CHECK
        (plan IS NOT NULL OR blocked OR capacity IS NOT NULL AND rate_per_second IS NOT NULL) NOT VALID,
    ADD CONSTRAINT clients_limit_check CHECK
        (capacity BETWEEN 1 AND 999999999999999 AND rate_per_second > 0 AND rate_per_second <= 1e9
            AND capacity / rate_per_second <= 2592000) NOT VALID, -- seconds, 30 days
    ADD CONSTRAINT clients_trial_limit_check CHECK
        (trial_capacity BETWEEN 1 AND 999999999999999 AND trial_rate_per_second > 0 AND trial_rate_per_second <= 1e9
            AND trial_capacity / trial_rate_per_second <= 2592000) NOT VALID,
    ADD CONSTRAINT clients_in_flight_check CHECK (max_in_flight <= 1000000000) NOT VALID,
    ADD CONSTRAINT clients_each_check CHECK
        (NOT each OR trial_capacity IS NULL AND ip_address IS NOT NULL
            AND masklen(ip_address) < CASE family(ip_address) WHEN 4 THEN 32 ELSE 128 END) NOT VALID,
    ADD CONSTRAINT clients_labels_check CHECK (labels IS NULL OR clients_labels_valid(labels)) NOT VALID,
    ADD CONSTRAINT clients_times_check CHECK
        (isfinite(created_at) AND isfinite(updated_at) AND isfinite(expires_at)) NOT VALID;
CREATE INDEX clients_version_idx ON clients (version);
CREATE INDEX clients_plan_idx ON clients (plan) WHERE plan IS NOT NULL;
-- Those that a change of their plan could make invalid.
CREATE INDEX clients_overriding_idx ON clients (plan) WHERE plan IS NOT NULL AND (capacity IS NOT NULL OR rate_per_second IS NOT NULL);

-- The keys of clients with a name. The newest is in clients.api_key_sha256, too. There it is written by hand and by
-- instances of earlier versions, and becomes the client's only key.
CREATE TABLE client_keys (
    name       text        COLLATE "C" NOT NULL REFERENCES clients (name) ON UPDATE CASCADE ON DELETE CASCADE,
    id         text        COLLATE "C" NOT NULL DEFAULT lpad(to_hex((random() * 4294967295)::bigint), 8, '0')
                           CHECK (id <> '' AND octet_length(id) <= 128),
    sha256     bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    expires_at timestamptz CHECK (isfinite(expires_at)), -- NULL: never
    PRIMARY KEY (name, id),
    CONSTRAINT client_keys_sha256_key UNIQUE (sha256)
);
INSERT INTO client_keys (name, sha256, created_at)
    SELECT name, api_key_sha256, created_at FROM clients WHERE api_key_sha256 IS NOT NULL;

CREATE TABLE clients_audit (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL,
    who          text        NOT NULL,
    from_address text        NOT NULL,
    action       text        NOT NULL,
    target       text        NOT NULL,
    before       json,
    after        json
);
CREATE INDEX clients_audit_at_idx ON clients_audit (at);

-- Answers to requests with an Idempotency-Key.
CREATE TABLE clients_replies (
    key    text        PRIMARY KEY,
    digest bytea       NOT NULL,
    status integer     NOT NULL,
    body   bytea       NOT NULL,
    at     timestamptz NOT NULL
);
CREATE INDEX clients_replies_at_idx ON clients_replies (at);

-- Before a statement: the transaction has its version, which it keeps in clients.version.
CREATE FUNCTION clients_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    raised bigint;
BEGIN
    UPDATE clients_version SET version = version + 1, changed_by = txid_current(), changed_at = now()
        WHERE changed_by <> txid_current() OR changed_at <> now()
        RETURNING version INTO raised;
    IF FOUND THEN
        PERFORM set_config('clients.version', raised::text, true), pg_notify('clients', '');
    END IF;
    IF TG_OP = 'TRUNCATE' THEN -- there is no telling which rows
        UPDATE clients_version SET pruned = version;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION clients_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := current_setting('clients.version');
    RETURN NEW;
END $$;

-- After rows were deleted, or have become others.
CREATE FUNCTION clients_bury() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    at bigint := current_setting('clients.version');
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        INSERT INTO clients_deleted (ip_address, name, version) SELECT ip_address, name, at FROM gone;
    ELSIF TG_TABLE_NAME = 'plans' THEN
        INSERT INTO clients_deleted (plan, version) VALUES (OLD.name, at);
    ELSE
        INSERT INTO clients_deleted (ip_address, name, version) VALUES (OLD.ip_address, OLD.name, at);
    END IF;
    RETURN NULL;
END $$;

-- clients.keys_apart is on where keys are written together with their clients.
CREATE FUNCTION clients_only_key() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('clients.keys_apart', 'on', true);
    DELETE FROM client_keys WHERE name = NEW.name;
    INSERT INTO client_keys (name, sha256) VALUES (NEW.name, NEW.api_key_sha256);
    PERFORM set_config('clients.keys_apart', 'off', true);
    RETURN NULL;
END $$;

-- A change of a key is one of its client.
CREATE FUNCTION client_keys_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    client text;
BEGIN
    PERFORM set_config('clients.keys_apart', 'on', true);
    FOREACH client IN ARRAY CASE TG_OP WHEN 'INSERT' THEN ARRAY[NEW.name] WHEN 'DELETE' THEN ARRAY[OLD.name]
        ELSE ARRAY[OLD.name, NEW.name] END
    LOOP
        IF (SELECT count(*) > 4 FROM client_keys k WHERE k.name = client) THEN
            RAISE check_violation USING MESSAGE = 'a client has at most 4 API keys', TABLE = 'client_keys';
        END IF;
        UPDATE clients c SET api_key_sha256 =
            (SELECT sha256 FROM client_keys k WHERE k.name = client ORDER BY created_at DESC, id DESC LIMIT 1)
            WHERE c.name = client;
    END LOOP;
    PERFORM set_config('clients.keys_apart', 'off', true);
    RETURN NULL;
END $$;

CREATE TRIGGER change BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION clients_change();
CREATE TRIGGER change BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON client_keys
    FOR EACH STATEMENT EXECUTE FUNCTION clients_change();
CREATE TRIGGER change BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON plans
    FOR EACH STATEMENT EXECUTE FUNCTION clients_change();

CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON clients FOR EACH ROW EXECUTE FUNCTION clients_stamp();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON plans FOR EACH ROW EXECUTE FUNCTION clients_stamp();

CREATE TRIGGER bury AFTER DELETE ON clients REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION clients_bury();
CREATE TRIGGER bury_renamed AFTER UPDATE ON clients FOR EACH ROW
    WHEN (OLD.ip_address IS DISTINCT FROM NEW.ip_address OR OLD.name IS DISTINCT FROM NEW.name)
    EXECUTE FUNCTION clients_bury();
CREATE TRIGGER bury AFTER DELETE ON plans FOR EACH ROW EXECUTE FUNCTION clients_bury();
CREATE TRIGGER bury_renamed AFTER UPDATE ON plans FOR EACH ROW
    WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION clients_bury();

CREATE TRIGGER only_key AFTER INSERT ON clients FOR EACH ROW
    WHEN (NEW.api_key_sha256 IS NOT NULL AND current_setting('clients.keys_apart', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION clients_only_key();
CREATE TRIGGER only_key_new AFTER UPDATE ON clients FOR EACH ROW
    WHEN (NEW.api_key_sha256 IS NOT NULL AND NEW.api_key_sha256 IS DISTINCT FROM OLD.api_key_sha256
        AND current_setting('clients.keys_apart', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION clients_only_key();
CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE ON client_keys FOR EACH ROW
    WHEN (current_setting('clients.keys_apart', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION client_keys_changed();

-- Roles with rights on the clients have them on what belongs to the clients: the triggers need them.
DO $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT DISTINCT a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'clients'::regclass AND a.grantee <> c.relowner
            AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    LOOP
        EXECUTE format('GRANT %s ON clients_version, clients_deleted, plans, client_keys, clients_audit, clients_replies TO %s',
            held.privilege_type, held.grantee);
    END LOOP;
END $$;
