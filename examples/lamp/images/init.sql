-- Run at each start of the server. www-data is known by the user of its socket: there is no password to keep.
CREATE DATABASE IF NOT EXISTS lamp;
CREATE USER IF NOT EXISTS 'www-data'@'localhost' IDENTIFIED VIA unix_socket;
GRANT SELECT, INSERT ON lamp.* TO 'www-data'@'localhost';
CREATE TABLE IF NOT EXISTS lamp.visits (at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
