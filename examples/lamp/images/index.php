<?php
// Counts its visitors in MariaDB: a page that only answers when Apache, PHP and the database all work.
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
header('Content-Type: text/plain');
try {
    $database = new mysqli('localhost', 'www-data', '', 'lamp');
    $database->query('INSERT INTO visits VALUES ()');
    $visits = $database->query('SELECT COUNT(*) FROM visits')->fetch_row()[0];
    echo "Hello from Apache, PHP and MariaDB: visit {$visits}\n";
} catch (mysqli_sql_exception $error) {
    error_log($error->getMessage());
    http_response_code(503);
    echo "The database does not answer yet\n";
}
