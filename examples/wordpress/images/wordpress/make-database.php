<?php
// Waits for the database server, a minute at most, and makes this site's database if it is not there.
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$name = getenv('WORDPRESS_DB_NAME') ?: 'wordpress';
if (!preg_match('/^[A-Za-z0-9_]{1,64}$/', $name)) {
    fwrite(STDERR, "error: WORDPRESS_DB_NAME must be letters, digits and _, not \"$name\"\n");
    exit(1);
}
[$host, $port] = explode(':', getenv('WORDPRESS_DB_HOST') . ':3306');
$user = getenv('WORDPRESS_DB_USER') ?: 'root';
for ($attempt = 1; ; $attempt++) {
    try {
        $database = new mysqli($host, $user, getenv('WORDPRESS_DB_PASSWORD'), '', (int) $port);
        $database->query("CREATE DATABASE IF NOT EXISTS `$name` CHARACTER SET utf8mb4");
        echo "database $name is there\n";
        exit(0);
    } catch (mysqli_sql_exception $error) {
        // 2002 and the like: nobody listens yet. What the server itself refuses will not get better by waiting.
        $isRefused = $error->getCode() < 2000;
        if ($isRefused || $attempt >= 60) {
            fwrite(STDERR, "error: the database at $host:$port, user $user: {$error->getMessage()}\n");
            exit(1);
        }
        if ($attempt === 1) echo "waiting for the database at $host:$port\n";
        sleep(1);
    }
}
