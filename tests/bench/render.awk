# render.awk -- results.tsv and README.md in, README.md out (render.sh says more).

function show(x) {
    if (x == "" || x < 0) return "-"
    if (x >= 1e6) return sprintf("%.2fM", x / 1e6)
    if (x >= 1e4) return sprintf("%.0fk", x / 1e3)
    if (x >= 1e3) return sprintf("%.1fk", x / 1e3)
    if (x >= 10) return sprintf("%.1f", x)
    return sprintf("%.2f", x)
}

# How many times `a` is `b`; "" if one of them was not measured.
function times(a, b) { return a == "" || b == "" || a < 0 || b <= 0 ? "" : a / b }
function shown(x) { return x == "" ? "" : sprintf("%.2f", x) }
function plain(label) { sub(/^ +/, "", label); return label }

# The advantage of lsm over a side: more than 1 is better.
function advantage(i, side) {
    return judge[i] == "faster" ? times(value[i, "lsm"], value[i, side]) \
                                : times(value[i, side], value[i, "lsm"])
}

function heading() { print "Run of " date ", commit " commit ", " machine "; " options ".\n" }

function table_sql(    i, x, met, goals, missed, verdict, goal) {
    if (!count) { print "No run yet: `make bench`."; return }
    heading()
    print "| | unit | lsm | ordinary, 64 MiB | default | / ordinary | / default | cpu / ordinary | goal | |"
    print "|---|---|---:|---:|---:|---:|---:|---:|---|---|"
    for (i = 1; i <= count; i++) {
        x = judge[i] == "time" ? times(value[i, "ordinary"], value[i, "lsm"]) \
                               : times(value[i, "lsm"], value[i, "ordinary"])
        if (judge[i] == "at_most") x = value[i, "lsm"]
        goal = verdict = ""
        if (goals_of[i] > 0) {
            met = judge[i] == "faster" ? x >= goals_of[i] : x <= goals_of[i]
            goal = (judge[i] == "faster" ? ">= " : "<= ") goals_of[i] (judge[i] == "at_most" ? "" : "x") \
                   (judge[i] == "time" ? " the time" : "")
            verdict = met ? "pass" : "**miss**"
            goals++
            missed += !met
        }
        printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", plain(label[i]), unit[i], \
            show(value[i, "lsm"]), show(value[i, "ordinary"]), show(value[i, "default"]), \
            shown(judge[i] == "time" ? times(value[i, "ordinary"], value[i, "lsm"]) \
                                     : times(value[i, "lsm"], value[i, "ordinary"])), \
            shown(judge[i] == "time" ? times(value[i, "default"], value[i, "lsm"]) \
                                     : times(value[i, "lsm"], value[i, "default"])), \
            shown(times(cpu[i, "lsm"], cpu[i, "ordinary"])), goal, verdict
    }
    printf "\n%d of %d goals are missed.\n", missed, goals
}

# The smaller of the advantages over LevelDB and RocksDB.
function over_peers(i,    a, b) {
    a = advantage(i, "leveldb")
    b = advantage(i, "rocksdb")
    return a == "" ? b : b == "" || a < b ? a : b
}

function tails(i, side) {
    return p50[i, side] < 0 || p50[i, side] == "" ? "" \
        : show(p50[i, side]) " / " show(p99[i, side]) " / " show(p999[i, side])
}

function table_engine(    i, j, n, x, m, all, verdict, met, goals, missed) {
    if (!count) { print "No run yet: `make bench-engine`."; return }
    heading()
    print "| | unit | lsm | leveldb | rocksdb | lmdb | over LSM peers | over lmdb | |"
    print "|---|---|---:|---:|---:|---:|---:|---:|---|"
    for (i = 1; i <= count; i++) {
        x = over_peers(i)
        m = advantage(i, "lmdb")
        verdict = ""
        if (judge[i] != "info" && x != "") {
            met = x >= 1 && (m == "" || m >= 1 / 1.3 || judge[i] != "faster")
            if (judge[i] == "less") met = advantage(i, "rocksdb") >= 1 / 1.05
            if (judge[i] == "fewer") met = advantage(i, "rocksdb") >= 1
            if (judge[i] == "third") met = advantage(i, "leveldb") >= 3
            if (judge[i] == "50us") met = value[i, "lsm"] <= 50
            verdict = met ? "pass" : "**miss**"
            goals++
            missed += !met
            if (judge[i] == "faster") all[++n] = x
        }
        printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", plain(label[i]), unit[i], \
            show(value[i, "lsm"]), show(value[i, "leveldb"]), show(value[i, "rocksdb"]), \
            show(value[i, "lmdb"]), shown(x), shown(m), verdict
    }
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && all[j - 1] > all[j]; j--) { x = all[j]; all[j] = all[j - 1]; all[j - 1] = x }
    printf "\nOver the better LSM peer in the median row: %.2f (goal 1.5); %d of %d rows are missed.\n", \
        all[int(n / 2) + 1], missed, goals
    print "\n![lsm and lmdb over the better LSM peer](engine.svg)\n"
    print "Latency in microseconds, p50 / p99 / p99.9, and processor time of an operation, all threads:\n"
    print "| | lsm | leveldb | rocksdb | lmdb | cpu: lsm | leveldb | rocksdb | lmdb |"
    print "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for (i = 1; i <= count; i++)
        if (cpu[i, "lsm"] > 0)
            printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", plain(label[i]), tails(i, "lsm"), \
                tails(i, "leveldb"), tails(i, "rocksdb"), tails(i, "lmdb"), show(cpu[i, "lsm"]), \
                show(cpu[i, "leveldb"]), show(cpu[i, "rocksdb"]), show(cpu[i, "lmdb"])
}

function log2(x) { return log(x) / log(2) }
function escaped(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); return s }

# Each row a line: where the engines stand on a log scale, the better LSM peer at 1.
function chart(    i, y, k, x, best, side, sides, colour, low, high, left, width, rows, v) {
    split("leveldb rocksdb lmdb lsm", sides, " ")
    colour["lsm"] = "#c0392b"; colour["leveldb"] = "#7f8c8d"; colour["rocksdb"] = "#2c3e50"
    colour["lmdb"] = "#2980b9"
    low = -4; high = 5; left = 240; width = 560
    for (i = 1; i <= count; i++) rows += judge[i] == "faster"
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" " \
        "font-family=\"sans-serif\" font-size=\"12\">\n", left + width + 20, rows * 18 + 70 >svg
    print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>" >svg
    for (k = 1; k <= 4; k++)
        printf "<circle cx=\"%d\" cy=\"14\" r=\"5\" fill=\"%s\"/><text x=\"%d\" y=\"18\">%s</text>\n", \
            left + k * 90, colour[sides[k]], left + k * 90 + 9, sides[k] >svg
    for (k = low; k <= high; k++) {
        x = left + (k - low) * width / (high - low)
        printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"42\" y2=\"%d\" stroke=\"%s\"/>" \
            "<text x=\"%.1f\" y=\"38\" text-anchor=\"middle\" fill=\"#555\">%sx</text>\n", x, x, \
            rows * 18 + 46, k == 0 ? "#000" : "#ddd", x, k < 0 ? "1/" 2 ^ -k : 2 ^ k >svg
    }
    y = 58
    for (i = 1; i <= count; i++) {
        if (judge[i] != "faster") continue
        best = value[i, "leveldb"] > value[i, "rocksdb"] ? value[i, "leveldb"] : value[i, "rocksdb"]
        printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left - 10, y + 4, \
            escaped(plain(label[i])) >svg
        for (k = 1; k <= 4; k++) {
            v = times(value[i, sides[k]], best)
            if (v == "" || v <= 0) continue
            x = log2(v)
            x = left + ((x < low ? low : x > high ? high : x) - low) * width / (high - low)
            printf "<circle cx=\"%.1f\" cy=\"%d\" r=\"%d\" fill=\"%s\"/>\n", x, y, \
                sides[k] == "lsm" ? 6 : 5, colour[sides[k]] >svg
        }
        y += 18
    }
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#555\">rate over the better of " \
        "leveldb and rocksdb; further right is faster</text>\n", left + width / 2, y + 6 >svg
    print "</svg>" >svg
    close(svg)
}

# Take the last run of a kind apart.
function load_run(kind,    i, f, n, lines, key) {
    count = 0
    split("", value); split("", cpu); split("", p50); split("", p99); split("", p999)
    split("", index_of)
    if (!(kind in text)) return
    n = split(text[kind], lines, "\n")
    split(lines[1], f, "\t")
    date = f[3]; commit = f[4]; machine = f[5]; options = f[6]
    for (i = 2; i <= n; i++) {
        split(lines[i], f, "\t")
        key = f[2]
        if (!(key in index_of)) {
            index_of[key] = ++count
            label[count] = key; unit[count] = f[5]; judge[count] = f[10]; goals_of[count] = f[11] + 0
        }
        value[index_of[key], f[3]] = f[4] + 0
        cpu[index_of[key], f[3]] = f[6] + 0
        p50[index_of[key], f[3]] = f[7] + 0
        p99[index_of[key], f[3]] = f[8] + 0
        p999[index_of[key], f[3]] = f[9] + 0
    }
}

BEGIN { FS = "\t" }
FILENAME ~ /results[.]tsv$/ && $1 == "run" { at = $2; text[at] = $0; next }
FILENAME ~ /results[.]tsv$/ { if ($1 == "row") text[at] = text[at] "\n" $0; next }
/^<!-- end / { skipping = 0 }
!skipping { print }
/^<!-- begin sql / { load_run("sql"); table_sql(); skipping = 1 }
/^<!-- begin engine / { load_run("engine"); table_engine(); if (count) chart(); skipping = 1 }
