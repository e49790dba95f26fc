#!/usr/bin/env bash
#
# check_catalogue.sh -- each failure of tests/failures.tsv has a test in the sources that names it, in its name or
# in the comment right above it, or a reason why there is none.
set -u
cd "$(dirname "$0")/../.." || exit 2
perl -e '
    my ($bad, %seen, %later) = (0);
    sub complain { print "$_[0]\n"; $bad = 1 }
    open my $list, "<", "tests/failures.tsv" or die "tests/failures.tsv: $!\n";
    while (<$list>) {
        next if /^#/;
        chomp;
        my ($id, $program, $test) = split /\t/;
        if (!defined $test || $id !~ /^[CTIMBHPDSG]-\d\d$/) { complain("line $.: not an ID, a program and a test"); next }
        $seen{$id}++;
        if ($program eq "later") { $later{$id} = 1; next }
        my ($file) = grep { -f } map { "tests/$program.$_" } "c", "sh", "sql";
        if (!$file) { complain("$id: there is no tests/$program"); next }
        open my $in, "<", $file or die; local $/; my $text = <$in>; close $in;
        (my $name = $id) =~ tr/-/_/;
        if ($file =~ /\.c$/) {
            if ($text !~ m{((?:/\*(?:(?!\*/).)*\*/\n)?)^(?:TEST|DIFF)\(\Q$test\E\b}ms) { complain("$id: $file has no test $test"); next }
            complain("$id: $test does not name it") unless "$1$test" =~ /\b\Q$id\E\b|(?:^|_)$name(?:_|\z)/m;
        } else {
            complain("$id: $file does not name it") unless $text =~ /\b(?:\Q$id\E|$name)\b/;
        }
    }
    my %size = (C => 30, T => 12, I => 18, M => 7, B => 14, H => 19, P => 17, D => 19, S => 16, G => 8);
    for my $group (sort keys %size) {
        for my $n (1 .. $size{$group}) {
            my $id = sprintf "%s-%02d", $group, $n;
            complain("$id is not in the list") unless $seen{$id};
        }
    }
    printf "%d failures, %d of them later\n", scalar keys %seen, scalar keys %later;
    print $bad ? "FAIL" : "ok", " catalogue_each_failure_has_a_test_that_names_it\n";
    exit $bad;
'
