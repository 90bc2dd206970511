-- A database for each service and two roles that can open no other: one migrates and owns the tables, the other one serves, and can neither
-- make nor change one, nor take away the triggers that keep the books. Runs once, when the server's volume is empty; the passwords come from the
-- server's environment.
\getenv orders_password ORDERS_PASSWORD
\getenv orders_owner_password ORDERS_OWNER_PASSWORD
\getenv payments_password PAYMENTS_PASSWORD
\getenv payments_owner_password PAYMENTS_OWNER_PASSWORD

CREATE ROLE orders_owner LOGIN PASSWORD :'orders_owner_password';
CREATE ROLE orders LOGIN PASSWORD :'orders_password';
CREATE DATABASE orders OWNER orders_owner;
REVOKE ALL ON DATABASE orders FROM PUBLIC;
GRANT CONNECT ON DATABASE orders TO orders;

CREATE ROLE payments_owner LOGIN PASSWORD :'payments_owner_password';
CREATE ROLE payments LOGIN PASSWORD :'payments_password';
CREATE DATABASE payments OWNER payments_owner;
REVOKE ALL ON DATABASE payments FROM PUBLIC;
GRANT CONNECT ON DATABASE payments TO payments;

-- Of every table that is ever made there.
\connect orders
ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO orders;
\connect payments
ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO payments;
