-- The schema as version 2 of the migrations left it.
-- Clients with a limit of their own. The primary key is the order in which the API lists them: IPv4 before IPv6,
-- then by address, then the shorter prefix. An address is the range of its full length.
CREATE TABLE clients (
    ip_address      cidr             PRIMARY KEY,
    capacity        bigint           NOT NULL CHECK (capacity >= 1),      -- tokens
    rate_per_second double precision NOT NULL CHECK (rate_per_second > 0), -- tokens per second
    created_at      timestamptz      NOT NULL,
    updated_at      timestamptz      NOT NULL
);
-- Clients that are known by an API key: they have a name in the place of an address. The order of the list is that
-- of ip_address, then that of name, bytewise.
ALTER TABLE clients
    DROP CONSTRAINT clients_pkey,
    ALTER COLUMN ip_address DROP NOT NULL,
    -- Nothing reads it; a table without a primary key could not be replicated.
    ADD COLUMN id                    bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN name                  text             COLLATE "C" CHECK (name ~ '^[A-Za-z][A-Za-z0-9._-]{0,62}$'),
    ADD COLUMN api_key_sha256        bytea            CHECK (octet_length(api_key_sha256) = 32),
    ADD COLUMN max_in_flight         bigint           CHECK (max_in_flight >= 1),         -- NULL: no bound
    ADD COLUMN shadow                boolean          NOT NULL DEFAULT false,
    ADD COLUMN trial_capacity        bigint           CHECK (trial_capacity >= 1),        -- tokens
    ADD COLUMN trial_rate_per_second double precision CHECK (trial_rate_per_second > 0),  -- tokens per second
    ADD CONSTRAINT clients_ip_address_key     UNIQUE (ip_address),
    ADD CONSTRAINT clients_name_key           UNIQUE (name),
    ADD CONSTRAINT clients_api_key_sha256_key UNIQUE (api_key_sha256),
    ADD CONSTRAINT clients_identity_check     CHECK (num_nonnulls(ip_address, name) = 1),
    ADD CONSTRAINT clients_api_key_check      CHECK ((name IS NULL) = (api_key_sha256 IS NULL)),
    ADD CONSTRAINT clients_trial_check        CHECK ((trial_capacity IS NULL) = (trial_rate_per_second IS NULL));
CREATE TABLE clients_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
INSERT INTO clients_migrations (version) VALUES (1), (2);
