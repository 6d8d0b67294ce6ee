<?php
// All of it comes from the environment, so that one image with a read-only root serves every client.
define('DB_HOST', getenv('WORDPRESS_DB_HOST') ?: 'mysql');
define('DB_USER', getenv('WORDPRESS_DB_USER') ?: 'root');
define('DB_PASSWORD', getenv('WORDPRESS_DB_PASSWORD'));
define('DB_NAME', getenv('WORDPRESS_DB_NAME') ?: 'wordpress');
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = getenv('WORDPRESS_TABLE_PREFIX') ?: 'wp_';
// Under whatever address it is asked for: its port is the host's to choose. Give WORDPRESS_URL where clients are not trusted.
$url = getenv('WORDPRESS_URL') ?: 'http://' . ($_SERVER['HTTP_HOST'] ?? 'localhost');
define('WP_HOME', $url);
define('WP_SITEURL', $url);
// Keys that nobody has to keep: the same for every start of this site, and of no use without its password.
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $use) {
    foreach (['KEY', 'SALT'] as $kind) {
        define("{$use}_{$kind}", hash_hmac('sha256', "{$use}_{$kind} " . DB_NAME, DB_PASSWORD));
    }
}
// Nothing can be written here, and nothing is to be fetched: a new image is the update.
define('DISALLOW_FILE_MODS', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
