#!/usr/bin/env bash
#
# check_catalogue.sh -- each failure of tests/failures.tsv has a test in the sources that names it, in its name or
# in the comment right above it, or a reason why there is none. And each rule of the commit, R1 to R20, has a test
# that is named by it, and a mutant: the rule taken out, which a test sees (tests/mutants).
set -u
cd "$(dirname "$0")/../.." || exit 2
failed=0
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
' || failed=1

perl -e '
    my ($bad, %in_test, %in_mutant) = (0);
    sub names { my ($into, $text) = @_; $into->{$1}++ while $text =~ /(?:^|_|\()(R\d+[a-d]?)(?=_|\b)/g }
    for my $file (glob("tests/unit/*.c tests/sim/*.c")) {
        open my $in, "<", $file or die; names(\%in_test, /^TEST\((\w+)/ ? "($1" : "") while <$in>;
    }
    open my $in, "<", "tests/mutants/list.sh" or die; names(\%in_mutant, /^mutant (\S+)/ ? "($1" : "") while <$in>;
    for my $rule (1 .. 4, "5a", "5b", "5c", "5d", 6, 7, "7a", "7b", 8 .. 20) {
        for (["test", \%in_test], ["mutant", \%in_mutant]) {
            next if $_->[1]{"R$rule"};
            print "R$rule has no $_->[0] that is named by it\n";
            $bad = 1;
        }
    }
    print $bad ? "FAIL" : "ok", " catalogue_each_rule_of_the_commit_has_a_test_and_a_mutant\n";
    exit $bad;
' || failed=1
exit $failed
