-- What is in a golden store: the small tables as they are, the large ones by sum and sample.
SELECT 'anything', quote(key), typeof(key), length(value), quote(substr(value, 1, 20)) FROM anything;
SELECT 'numbers', count(*), sum(id), min(id), max(id), hex(sha3_query('SELECT id, r, t, b, n FROM numbers ORDER BY id', 256)) FROM numbers;
SELECT 'backwards', hex(sha3_query('SELECT id, r, t, b, n FROM numbers ORDER BY id DESC', 256));
SELECT id, r, t, quote(b), n, typeof(r), typeof(n) FROM numbers WHERE id IN (1, 3, 10, 30, 3000, 4200, 9000, 100001, 100002);
SELECT 'people', count(*), hex(sha3_query('SELECT * FROM people ORDER BY name, born DESC', 256)) FROM people;
SELECT name, born, note FROM people WHERE name = 'ADA6';
SELECT name, born, note FROM people WHERE name >= 'edsger' AND name < 'edsger2' ORDER BY name DESC, born LIMIT 5;
SELECT 'trimmed', count(*), hex(sha3_query('SELECT * FROM trimmed ORDER BY b DESC, c, a', 256)) FROM trimmed;
SELECT quote(a), b, quote(c) FROM trimmed WHERE b > -0.9 LIMIT 5;
SELECT 'long', count(*), sum(length(v)), hex(sha3_query('SELECT * FROM long ORDER BY id', 256)) FROM long;
SELECT id, length(v), substr(v, 1, 30) FROM long WHERE id IN (1, 49, 110);
SELECT 'longer', count(*), sum(length(v)), hex(sha3_query('SELECT * FROM longer ORDER BY id', 256)) FROM longer;
SELECT 'after', * FROM after;
SELECT 'plain', * FROM plain;
SELECT count(*) FROM numbers JOIN people ON people.born = numbers.id;
SELECT name FROM sqlite_schema WHERE name IN ('before', 'dropped');
