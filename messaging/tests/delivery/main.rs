//! What messaging guarantees, from the transaction that writes a message to the one that applies it, through the public
//! interface only: on SQLite with the in-process broker, and on PostgreSQL with RabbitMQ.

mod between;
mod fact;
mod place;
mod running;
mod crashes;
mod faults;
mod strangers;
mod refusals;
mod contention;
mod commits;
mod outages;
mod planted;
mod health;
mod dead_letters;
mod leases;
mod operator;
mod groups;
mod paced;
mod jobs;
mod waiting;
mod previews;
mod redrives;
mod repeats;
mod pauses;
mod busy;
mod kept_order;
mod migrated;
mod stops;
mod retention;
mod sizes;
mod workers;
mod processes;
mod rates;
mod bloat;
