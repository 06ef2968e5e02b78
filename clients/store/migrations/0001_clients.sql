-- Clients with a limit of their own. The primary key is the order in which the API lists them: IPv4 before IPv6,
-- then by address, then the shorter prefix. An address is the range of its full length.
CREATE TABLE clients (
    ip_address      cidr             PRIMARY KEY,
    capacity        bigint           NOT NULL CHECK (capacity >= 1),      -- tokens
    rate_per_second double precision NOT NULL CHECK (rate_per_second > 0), -- tokens per second
    created_at      timestamptz      NOT NULL,
    updated_at      timestamptz      NOT NULL
);
