-- A database for each service, and a role that can open no other: nobody reads another's tables.
-- Runs once, when the server's volume is empty; the passwords come from the server's environment.
\getenv orders_password ORDERS_PASSWORD
\getenv payments_password PAYMENTS_PASSWORD

CREATE ROLE orders LOGIN PASSWORD :'orders_password';
CREATE DATABASE orders OWNER orders;
REVOKE CONNECT ON DATABASE orders FROM PUBLIC;

CREATE ROLE payments LOGIN PASSWORD :'payments_password';
CREATE DATABASE payments OWNER payments;
REVOKE CONNECT ON DATABASE payments FROM PUBLIC;
