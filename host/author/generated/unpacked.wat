;; Answers as the contract says, with what the component beside it has packed: reads Python's marshal format, in its
;; second version, and writes what the canonical ABI has in memory. Made from the contract; not to be edited.
(module
    (import "ruleward:policy/log@0.1.0" "emit" (func $emit (param $level i32) (param $text i32) (param $length i32)))
    (import "$root" "describe-packed" (func $describe-packed (param $answer i32)))
    (import "$root" "evaluate-packed" (func $evaluate-packed (param $arguments i32) (param $answer i32)))

    ;; At 0 where the packed answer is, and its length. At $path the lists that are being read: of each the name of its
    ;; elements, its length and how many of them are left. Then names; then what is allocated.
    (memory (export "memory") 1)
    (global $path i32 (i32.const 16))
    (global $deepest i32 (i32.const 256))
    (global $level (mut i32) (i32.const 16))
    (global $free (mut i32) (i32.const 880))
    ;; What is read next, and the end of what is packed.
    (global $at (mut i32) (i32.const 0))
    (global $end (mut i32) (i32.const 0))
    (data (i32.const 256) "descriptionstringownershiptableevaluate-answercontributionchainrulematchprotocol-matchnetwork-matchip-networkip-addressipv4-addressipv6-addressinterface-matchport-matchport-rangetcp-flags-matchicmp-matchconntrack-state-matchmark-matchaddress-type-matchaddress-type-testset-matchdirectionlimit-matchextensiontargetmasqueradenataddress-rangemark-setconnmark-actionlog-packetnflogtproxytcp-mssattachmentaddress-setset-typeset-membernetwork-portchain-policyfailureproblem :  expectedmorea number from 0 to 255a number from 0 to 65535a number from 0 to 4294967295a number from -2147483648 to 2147483647True or Falsea texta list")

    (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
        ;; Nothing is moved: whoever passes a value knows its size.
        (if (local.get $old) (then (unreachable)))
        (call $allocate (i64.extend_i32_u (local.get $size))))

    ;; Aligned for everything that the contract has.
    (func $allocate (param $size i64) (result i32)
        (local $place i32) (local $end i64) (local $missing i64)
        (local.set $place (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (local.set $end (i64.add (i64.extend_i32_u (local.get $place)) (local.get $size)))
        (local.set $missing (i64.sub (local.get $end) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
        (if (i64.gt_u (local.get $end) (i64.const 0xffff0000)) (then (unreachable)))
        (if (i64.gt_s (local.get $missing) (i64.const 0))
            (then
                (if (i32.eq
                        (memory.grow
                            (i32.wrap_i64 (i64.shr_u (i64.add (local.get $missing) (i64.const 0xffff)) (i64.const 16))))
                        (i32.const -1))
                    (then (unreachable)))))
        (global.set $free (i32.wrap_i64 (local.get $end)))
        (local.get $place))

    ;; ---------------------------------------------------------------- what can't be read

    ;; Says where, what was expected and what is there, as a line of the log, and ends.
    (func $refuse (param $what i32) (param $length i32)
        (local $list i32) (local $text i32)
        (local.set $text (call $allocate (i64.const 1024)))
        (global.set $free (local.get $text))
        (local.set $list (global.get $path))
        (block $told
            (loop $lists
                (br_if $told (i32.eq (local.get $list) (global.get $level)))
                (call $say (i32.load (local.get $list)) (i32.load offset=4 (local.get $list)))
                (call $say (i32.const 723) (i32.const 1))
                ;; Counted from 1, as the host does.
                (call $say-number
                    (i32.sub
                        (i32.add (i32.load offset=8 (local.get $list)) (i32.const 1))
                        (i32.load offset=12 (local.get $list))))
                (call $say (i32.const 724) (i32.const 2))
                (local.set $list (i32.add (local.get $list) (i32.const 16)))
                (br $lists)))
        (call $say (local.get $what) (local.get $length))
        (call $say (i32.const 726) (i32.const 9))
        (call $emit (i32.const 3) (local.get $text) (i32.sub (global.get $free) (local.get $text)))
        (unreachable))

    (func $say (param $text i32) (param $length i32)
        (memory.copy (global.get $free) (local.get $text) (local.get $length))
        (global.set $free (i32.add (global.get $free) (local.get $length))))

    (func $say-number (param $number i32)
        (if (i32.ge_u (local.get $number) (i32.const 10))
            (then (call $say-number (i32.div_u (local.get $number) (i32.const 10)))))
        (i32.store8 (global.get $free) (i32.add (i32.rem_u (local.get $number) (i32.const 10)) (i32.const 48)))
        (global.set $free (i32.add (global.get $free) (i32.const 1))))

    ;; ---------------------------------------------------------------- what is packed

    ;; Goes on by so many bytes; where they are.
    (func $take (param $bytes i32) (result i32)
        (if (i32.gt_u (local.get $bytes) (i32.sub (global.get $end) (global.get $at)))
            (then (call $refuse (i32.const 735) (i32.const 4))))
        (global.get $at)
        (global.set $at (i32.add (global.get $at) (local.get $bytes))))

    (func $byte (result i32) (i32.load8_u (call $take (i32.const 1))))

    ;; A length. Each element takes a byte at least.
    (func $count (result i32)
        (local $count i32)
        (local.set $count (i32.load (call $take (i32.const 4))))
        (if (i32.gt_u (local.get $count) (i32.sub (global.get $end) (global.get $at)))
            (then (call $refuse (i32.const 735) (i32.const 4))))
        (local.get $count))

    ;; Whether it is None, which is then read.
    (func $none (result i32)
        (if (i32.eq (global.get $at) (global.get $end)) (then (call $refuse (i32.const 735) (i32.const 4))))
        (if (result i32) (i32.eq (i32.load8_u (global.get $at)) (i32.const 0x4e)) ;; N
            (then (global.set $at (i32.add (global.get $at) (i32.const 1))) (i32.const 1))
            (else (i32.const 0))))

    ;; An integer of up to 32 bits, with or without a sign: four bytes, or digits of 15 bits.
    (func $integer (param $what i32) (param $length i32) (result i64)
        (local $kind i32) (local $digits i32)
        (local.set $kind (call $byte))
        (if (i32.eq (local.get $kind) (i32.const 0x69)) ;; i
            (then (return (i64.load32_s (call $take (i32.const 4))))))
        (if (i32.eq (local.get $kind) (i32.const 0x6c)) ;; l
            (then
                (local.set $digits (i32.load (call $take (i32.const 4))))
                (if (i32.eq (local.get $digits) (i32.const 3))
                    (then
                        (local.set $digits (call $take (i32.const 6)))
                        (return
                            (i64.or
                                (i64.load16_u (local.get $digits))
                                (i64.or
                                    (i64.shl (i64.load16_u offset=2 (local.get $digits)) (i64.const 15))
                                    (i64.shl (i64.load16_u offset=4 (local.get $digits)) (i64.const 30)))))))))
        (call $refuse (local.get $what) (local.get $length))
        (unreachable))

    (func $u8 (param $to i32)
        (local $value i64)
        (local.set $value (call $integer (i32.const 739) (i32.const 22)))
        (if (i64.gt_u (local.get $value) (i64.const 0xff)) (then (call $refuse (i32.const 739) (i32.const 22))))
        (i64.store8 (local.get $to) (local.get $value)))

    (func $u16 (param $to i32)
        (local $value i64)
        (local.set $value (call $integer (i32.const 761) (i32.const 24)))
        (if (i64.gt_u (local.get $value) (i64.const 0xffff)) (then (call $refuse (i32.const 761) (i32.const 24))))
        (i64.store16 (local.get $to) (local.get $value)))

    (func $u32 (param $to i32)
        (local $value i64)
        (local.set $value (call $integer (i32.const 785) (i32.const 29)))
        (if (i64.gt_u (local.get $value) (i64.const 0xffffffff)) (then (call $refuse (i32.const 785) (i32.const 29))))
        (i64.store32 (local.get $to) (local.get $value)))

    (func $s32 (param $to i32)
        (local $value i64)
        (local.set $value (call $integer (i32.const 814) (i32.const 39)))
        (if (i64.ne (local.get $value) (i64.extend32_s (local.get $value))) (then (call $refuse (i32.const 814) (i32.const 39))))
        (i64.store32 (local.get $to) (local.get $value)))

    (func $bool (param $to i32)
        (local $kind i32)
        (local.set $kind (call $byte))
        (i32.store8 (local.get $to) (i32.eq (local.get $kind) (i32.const 0x54))) ;; T
        (if (i32.eqz (i32.or (i32.eq (local.get $kind) (i32.const 0x54)) (i32.eq (local.get $kind) (i32.const 0x46)))) ;; F
            (then (call $refuse (i32.const 853) (i32.const 13)))))

    ;; Stays where it is.
    (func $string (param $to i32)
        (local $length i32)
        (if (i32.ne (call $byte) (i32.const 0x75)) ;; u
            (then (call $refuse (i32.const 866) (i32.const 6))))
        (local.set $length (call $count))
        (i32.store (local.get $to) (call $take (local.get $length)))
        (i32.store offset=4 (local.get $to) (local.get $length)))

    ;; The length of a list or tuple, whose elements come next.
    (func $elements (param $what i32) (param $length i32) (result i32)
        (local $kind i32)
        (local.set $kind (call $byte))
        (if (i32.eqz (i32.or (i32.eq (local.get $kind) (i32.const 0x5b)) (i32.eq (local.get $kind) (i32.const 0x28)))) ;; [ (
            (then (call $refuse (local.get $what) (local.get $length))))
        (call $count))

    ;; The number of an object, whose parts come next.
    (func $object (param $what i32) (param $length i32) (result i32)
        (if (i32.ne (call $byte) (i32.const 0x28)) ;; (
            (then (call $refuse (local.get $what) (local.get $length))))
        (drop (call $count))
        (i32.wrap_i64 (call $integer (local.get $what) (local.get $length))))

    ;; An object of this number.
    (func $record (param $number i32) (param $what i32) (param $length i32)
        (if (i32.ne (call $object (local.get $what) (local.get $length)) (local.get $number))
            (then (call $refuse (local.get $what) (local.get $length)))))

    ;; A list that is to be at this place; where its elements go.
    (func $list (param $to i32) (param $size i32) (param $what i32) (param $length i32) (result i32)
        (local $count i32)
        (local.set $count (call $elements (i32.const 872) (i32.const 6)))
        (i32.store
            (local.get $to)
            (call $allocate (i64.mul (i64.extend_i32_u (local.get $count)) (i64.extend_i32_u (local.get $size)))))
        (i32.store offset=4 (local.get $to) (local.get $count))
        (i32.store (global.get $level) (local.get $what))
        (i32.store offset=4 (global.get $level) (local.get $length))
        (i32.store offset=8 (global.get $level) (local.get $count))
        (i32.store offset=12 (global.get $level) (local.get $count))
        (global.set $level (i32.add (global.get $level) (i32.const 16)))
        (if (i32.gt_u (global.get $level) (global.get $deepest)) (then (unreachable)))
        (i32.load (local.get $to)))

    ;; Whether another element comes.
    (func $another (result i32)
        (i32.load offset=12 (i32.sub (global.get $level) (i32.const 16))))

    (func $next
        (local $list i32)
        (local.set $list (i32.sub (global.get $level) (i32.const 16)))
        (i32.store offset=12 (local.get $list) (i32.sub (i32.load offset=12 (local.get $list)) (i32.const 1))))

    (func $listed (global.set $level (i32.sub (global.get $level) (i32.const 16))))

    ;; What is packed begins here.
    (func $begin
        (global.set $at (i32.load (i32.const 0)))
        (global.set $end (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 4)))))

    ;; ---------------------------------------------------------------- the contract's functions
    (func (export "describe") (result i32)
        (local $answer i32)
        (call $describe-packed (i32.const 0))
        (call $begin)
        (local.set $answer (call $allocate (i64.const 104)))
        (call $description (local.get $answer))
        (local.get $answer))

    (func (export "evaluate") (param $arguments i32) (result i32)
        (local $answer i32)
        (global.set $free (i32.const 880))
        (call $evaluate-packed (local.get $arguments) (i32.const 0))
        (call $begin)
        (local.set $answer (call $allocate (i64.const 36)))
        (call $evaluate-answer (local.get $answer))
        (local.get $answer))


    ;; ---------------------------------------------------------------- the contract's types

    (func $list-of-string (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 8) (i32.const 267) (i32.const 6)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $string (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 8)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $table (param $to i32)
        (call $u8 (local.get $to)))

    (func $list-of-table (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 1) (i32.const 282) (i32.const 5)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $table (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 1)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $ownership (param $to i32)
        (call $record (i32.const 2) (i32.const 273) (i32.const 9))
        (call $list-of-table (local.get $to))
        (call $list-of-string (i32.add (local.get $to) (i32.const 8)))
        (call $list-of-string (i32.add (local.get $to) (i32.const 16)))
        (call $list-of-string (i32.add (local.get $to) (i32.const 24)))
        (call $list-of-string (i32.add (local.get $to) (i32.const 32)))
        (call $list-of-string (i32.add (local.get $to) (i32.const 40)))
        (call $list-of-string (i32.add (local.get $to) (i32.const 48)))
        (call $bool (i32.add (local.get $to) (i32.const 56))))

    (func $description (param $to i32)
        (call $record (i32.const 3) (i32.const 256) (i32.const 11))
        (call $string (local.get $to))
        (call $string (i32.add (local.get $to) (i32.const 8)))
        (call $string (i32.add (local.get $to) (i32.const 16)))
        (call $string (i32.add (local.get $to) (i32.const 24)))
        (call $list-of-string (i32.add (local.get $to) (i32.const 32)))
        (call $bool (i32.add (local.get $to) (i32.const 40)))
        (call $bool (i32.add (local.get $to) (i32.const 41)))
        (call $ownership (i32.add (local.get $to) (i32.const 44))))

    (func $families (param $to i32)
        (call $u8 (local.get $to)))

    (func $protocol-match (param $to i32)
        (call $record (i32.const 4) (i32.const 328) (i32.const 14))
        (call $u8 (local.get $to))
        (call $bool (i32.add (local.get $to) (i32.const 1))))

    (func $ipv4-address (param $to i32)
        (if (i32.ne (call $elements (i32.const 375) (i32.const 12)) (i32.const 4)) (then (call $refuse (i32.const 375) (i32.const 12))))
        (call $u8 (local.get $to))
        (call $u8 (i32.add (local.get $to) (i32.const 1)))
        (call $u8 (i32.add (local.get $to) (i32.const 2)))
        (call $u8 (i32.add (local.get $to) (i32.const 3))))

    (func $ipv6-address (param $to i32)
        (if (i32.ne (call $elements (i32.const 387) (i32.const 12)) (i32.const 8)) (then (call $refuse (i32.const 387) (i32.const 12))))
        (call $u16 (local.get $to))
        (call $u16 (i32.add (local.get $to) (i32.const 2)))
        (call $u16 (i32.add (local.get $to) (i32.const 4)))
        (call $u16 (i32.add (local.get $to) (i32.const 6)))
        (call $u16 (i32.add (local.get $to) (i32.const 8)))
        (call $u16 (i32.add (local.get $to) (i32.const 10)))
        (call $u16 (i32.add (local.get $to) (i32.const 12)))
        (call $u16 (i32.add (local.get $to) (i32.const 14))))

    (func $ip-address (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 365) (i32.const 10)) (i32.const 5)))
        (if (i32.ge_u (local.get $case) (i32.const 2)) (then (call $refuse (i32.const 365) (i32.const 10))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 0))
            (then (call $ipv4-address (i32.add (local.get $to) (i32.const 2))) (return)))
        (if (i32.eq (local.get $case) (i32.const 1))
            (then (call $ipv6-address (i32.add (local.get $to) (i32.const 2))) (return))))

    (func $ip-network (param $to i32)
        (call $record (i32.const 7) (i32.const 355) (i32.const 10))
        (call $ip-address (local.get $to))
        (call $u8 (i32.add (local.get $to) (i32.const 18))))

    (func $network-match (param $to i32)
        (call $record (i32.const 8) (i32.const 342) (i32.const 13))
        (call $ip-network (local.get $to))
        (call $bool (i32.add (local.get $to) (i32.const 20))))

    (func $interface-match (param $to i32)
        (call $record (i32.const 9) (i32.const 399) (i32.const 15))
        (call $string (local.get $to))
        (call $bool (i32.add (local.get $to) (i32.const 8))))

    (func $port-range (param $to i32)
        (call $record (i32.const 10) (i32.const 424) (i32.const 10))
        (call $u16 (local.get $to))
        (call $u16 (i32.add (local.get $to) (i32.const 2))))

    (func $list-of-port-range (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 4) (i32.const 424) (i32.const 10)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $port-range (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 4)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $port-match (param $to i32)
        (call $record (i32.const 11) (i32.const 414) (i32.const 10))
        (call $list-of-port-range (local.get $to))
        (call $bool (i32.add (local.get $to) (i32.const 8))))

    (func $tcp-flags (param $to i32)
        (call $u8 (local.get $to)))

    (func $tcp-flags-match (param $to i32)
        (call $record (i32.const 12) (i32.const 434) (i32.const 15))
        (call $tcp-flags (local.get $to))
        (call $tcp-flags (i32.add (local.get $to) (i32.const 1)))
        (call $bool (i32.add (local.get $to) (i32.const 2))))

    (func $optional-u8 (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $u8 (i32.add (local.get $to) (i32.const 1))))

    (func $icmp-match (param $to i32)
        (call $record (i32.const 13) (i32.const 449) (i32.const 10))
        (call $u8 (local.get $to))
        (call $optional-u8 (i32.add (local.get $to) (i32.const 1)))
        (call $bool (i32.add (local.get $to) (i32.const 3))))

    (func $conntrack-states (param $to i32)
        (call $u8 (local.get $to)))

    (func $conntrack-state-match (param $to i32)
        (call $record (i32.const 14) (i32.const 459) (i32.const 21))
        (call $conntrack-states (local.get $to))
        (call $bool (i32.add (local.get $to) (i32.const 1))))

    (func $mark-match (param $to i32)
        (call $record (i32.const 15) (i32.const 480) (i32.const 10))
        (call $u32 (local.get $to))
        (call $u32 (i32.add (local.get $to) (i32.const 4)))
        (call $bool (i32.add (local.get $to) (i32.const 8))))

    (func $address-type (param $to i32)
        (call $u8 (local.get $to)))

    (func $address-type-test (param $to i32)
        (call $record (i32.const 16) (i32.const 508) (i32.const 17))
        (call $address-type (local.get $to))
        (call $bool (i32.add (local.get $to) (i32.const 1))))

    (func $optional-address-type-test (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $address-type-test (i32.add (local.get $to) (i32.const 1))))

    (func $address-type-limit (param $to i32)
        (call $u8 (local.get $to)))

    (func $address-type-match (param $to i32)
        (call $record (i32.const 17) (i32.const 490) (i32.const 18))
        (call $optional-address-type-test (local.get $to))
        (call $optional-address-type-test (i32.add (local.get $to) (i32.const 3)))
        (call $address-type-limit (i32.add (local.get $to) (i32.const 6))))

    (func $direction (param $to i32)
        (call $u8 (local.get $to)))

    (func $list-of-direction (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 1) (i32.const 534) (i32.const 9)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $direction (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 1)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $set-match (param $to i32)
        (call $record (i32.const 18) (i32.const 525) (i32.const 9))
        (call $string (local.get $to))
        (call $list-of-direction (i32.add (local.get $to) (i32.const 8)))
        (call $bool (i32.add (local.get $to) (i32.const 16))))

    (func $rate-unit (param $to i32)
        (call $u8 (local.get $to)))

    (func $optional-u32 (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $u32 (i32.add (local.get $to) (i32.const 4))))

    (func $limit-match (param $to i32)
        (call $record (i32.const 19) (i32.const 543) (i32.const 11))
        (call $u32 (local.get $to))
        (call $rate-unit (i32.add (local.get $to) (i32.const 4)))
        (call $optional-u32 (i32.add (local.get $to) (i32.const 8))))

    (func $extension (param $to i32)
        (call $record (i32.const 20) (i32.const 554) (i32.const 9))
        (call $string (local.get $to))
        (call $list-of-string (i32.add (local.get $to) (i32.const 8))))

    (func $match (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 323) (i32.const 5)) (i32.const 21)))
        (if (i32.ge_u (local.get $case) (i32.const 18)) (then (call $refuse (i32.const 323) (i32.const 5))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 0))
            (then (call $protocol-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 1))
            (then (call $network-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 2))
            (then (call $network-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 3))
            (then (call $interface-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 4))
            (then (call $interface-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 5))
            (then (call $port-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 6))
            (then (call $port-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 7))
            (then (call $tcp-flags-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 8))
            (then (call $icmp-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 9))
            (then (call $icmp-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 10))
            (then (call $conntrack-state-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 11))
            (then (call $mark-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 12))
            (then (call $mark-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 13))
            (then (call $address-type-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 14))
            (then (call $set-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 15))
            (then (call $limit-match (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 16))
            (then (call $extension (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 17))
            (then (call $list-of-string (i32.add (local.get $to) (i32.const 4))) (return))))

    (func $list-of-match (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 28) (i32.const 323) (i32.const 5)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $match (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 28)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $reject-kind (param $to i32)
        (call $u8 (local.get $to)))

    (func $optional-port-range (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $port-range (i32.add (local.get $to) (i32.const 2))))

    (func $masquerade (param $to i32)
        (call $record (i32.const 39) (i32.const 569) (i32.const 10))
        (call $optional-port-range (local.get $to))
        (call $bool (i32.add (local.get $to) (i32.const 6)))
        (call $bool (i32.add (local.get $to) (i32.const 7))))

    (func $address-range (param $to i32)
        (call $record (i32.const 40) (i32.const 582) (i32.const 13))
        (call $ip-address (local.get $to))
        (call $ip-address (i32.add (local.get $to) (i32.const 18))))

    (func $optional-address-range (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $address-range (i32.add (local.get $to) (i32.const 2))))

    (func $nat (param $to i32)
        (call $record (i32.const 41) (i32.const 579) (i32.const 3))
        (call $optional-address-range (local.get $to))
        (call $optional-port-range (i32.add (local.get $to) (i32.const 38)))
        (call $bool (i32.add (local.get $to) (i32.const 44)))
        (call $bool (i32.add (local.get $to) (i32.const 45)))
        (call $bool (i32.add (local.get $to) (i32.const 46))))

    (func $mark-set (param $to i32)
        (call $record (i32.const 42) (i32.const 595) (i32.const 8))
        (call $u32 (local.get $to))
        (call $u32 (i32.add (local.get $to) (i32.const 4))))

    (func $connmark-action (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 603) (i32.const 15)) (i32.const 43)))
        (if (i32.ge_u (local.get $case) (i32.const 3)) (then (call $refuse (i32.const 603) (i32.const 15))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 0))
            (then (call $mark-set (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 1))
            (then (call $u32 (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 2))
            (then (call $u32 (i32.add (local.get $to) (i32.const 4))) (return))))

    (func $log-level (param $to i32)
        (call $u8 (local.get $to)))

    (func $log-packet (param $to i32)
        (call $record (i32.const 46) (i32.const 618) (i32.const 10))
        (call $string (local.get $to))
        (call $log-level (i32.add (local.get $to) (i32.const 8))))

    (func $optional-u16 (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $u16 (i32.add (local.get $to) (i32.const 2))))

    (func $nflog (param $to i32)
        (call $record (i32.const 47) (i32.const 628) (i32.const 5))
        (call $u16 (local.get $to))
        (call $string (i32.add (local.get $to) (i32.const 4)))
        (call $optional-u16 (i32.add (local.get $to) (i32.const 12))))

    (func $optional-ip-address (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $ip-address (i32.add (local.get $to) (i32.const 2))))

    (func $tproxy (param $to i32)
        (call $record (i32.const 48) (i32.const 633) (i32.const 6))
        (call $u16 (local.get $to))
        (call $optional-ip-address (i32.add (local.get $to) (i32.const 2)))
        (call $mark-set (i32.add (local.get $to) (i32.const 24))))

    (func $tcp-mss (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 639) (i32.const 7)) (i32.const 49)))
        (if (i32.ge_u (local.get $case) (i32.const 2)) (then (call $refuse (i32.const 639) (i32.const 7))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 1))
            (then (call $u16 (i32.add (local.get $to) (i32.const 2))) (return))))

    (func $target (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 563) (i32.const 6)) (i32.const 51)))
        (if (i32.ge_u (local.get $case) (i32.const 18)) (then (call $refuse (i32.const 563) (i32.const 6))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 3))
            (then (call $reject-kind (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 4))
            (then (call $string (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 5))
            (then (call $string (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 6))
            (then (call $masquerade (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 7))
            (then (call $nat (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 8))
            (then (call $nat (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 9))
            (then (call $optional-port-range (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 10))
            (then (call $mark-set (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 11))
            (then (call $connmark-action (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 12))
            (then (call $log-packet (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 13))
            (then (call $nflog (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 15))
            (then (call $tproxy (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 16))
            (then (call $tcp-mss (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 17))
            (then (call $extension (i32.add (local.get $to) (i32.const 4))) (return))))

    (func $optional-target (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $target (i32.add (local.get $to) (i32.const 4))))

    (func $optional-string (param $to i32)
        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))
        (i32.store8 (local.get $to) (i32.const 1))
        (call $string (i32.add (local.get $to) (i32.const 4))))

    (func $rule (param $to i32)
        (call $record (i32.const 69) (i32.const 319) (i32.const 4))
        (call $list-of-match (local.get $to))
        (call $optional-target (i32.add (local.get $to) (i32.const 8)))
        (call $optional-string (i32.add (local.get $to) (i32.const 64))))

    (func $list-of-rule (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 76) (i32.const 319) (i32.const 4)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $rule (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 76)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $chain (param $to i32)
        (call $record (i32.const 70) (i32.const 314) (i32.const 5))
        (call $table (local.get $to))
        (call $families (i32.add (local.get $to) (i32.const 1)))
        (call $string (i32.add (local.get $to) (i32.const 4)))
        (call $list-of-rule (i32.add (local.get $to) (i32.const 12))))

    (func $list-of-chain (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 20) (i32.const 314) (i32.const 5)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $chain (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 20)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $hook (param $to i32)
        (call $u8 (local.get $to)))

    (func $placement (param $to i32)
        (call $u8 (local.get $to)))

    (func $attachment (param $to i32)
        (call $record (i32.const 71) (i32.const 646) (i32.const 10))
        (call $table (local.get $to))
        (call $hook (i32.add (local.get $to) (i32.const 1)))
        (call $families (i32.add (local.get $to) (i32.const 2)))
        (call $placement (i32.add (local.get $to) (i32.const 3)))
        (call $s32 (i32.add (local.get $to) (i32.const 4)))
        (call $rule (i32.add (local.get $to) (i32.const 8))))

    (func $list-of-attachment (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 84) (i32.const 646) (i32.const 10)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $attachment (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 84)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $family (param $to i32)
        (call $u8 (local.get $to)))

    (func $set-type (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 667) (i32.const 8)) (i32.const 72)))
        (if (i32.ge_u (local.get $case) (i32.const 5)) (then (call $refuse (i32.const 667) (i32.const 8))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 4))
            (then (call $string (i32.add (local.get $to) (i32.const 4))) (return))))

    (func $network-port (param $to i32)
        (call $record (i32.const 77) (i32.const 685) (i32.const 12))
        (call $ip-network (local.get $to))
        (call $u8 (i32.add (local.get $to) (i32.const 20)))
        (call $u16 (i32.add (local.get $to) (i32.const 22))))

    (func $set-member (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 675) (i32.const 10)) (i32.const 78)))
        (if (i32.ge_u (local.get $case) (i32.const 4)) (then (call $refuse (i32.const 675) (i32.const 10))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 0))
            (then (call $ip-network (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 1))
            (then (call $network-port (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 2))
            (then (call $ip-network (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 3))
            (then (call $string (i32.add (local.get $to) (i32.const 4))) (return))))

    (func $list-of-set-member (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 28) (i32.const 675) (i32.const 10)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $set-member (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 28)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $address-set (param $to i32)
        (call $record (i32.const 82) (i32.const 656) (i32.const 11))
        (call $string (local.get $to))
        (call $family (i32.add (local.get $to) (i32.const 8)))
        (call $set-type (i32.add (local.get $to) (i32.const 12)))
        (call $list-of-set-member (i32.add (local.get $to) (i32.const 24)))
        (call $optional-u32 (i32.add (local.get $to) (i32.const 32)))
        (call $bool (i32.add (local.get $to) (i32.const 40)))
        (call $optional-u32 (i32.add (local.get $to) (i32.const 44)))
        (call $list-of-string (i32.add (local.get $to) (i32.const 52))))

    (func $list-of-address-set (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 60) (i32.const 656) (i32.const 11)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $address-set (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 60)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $verdict (param $to i32)
        (call $u8 (local.get $to)))

    (func $chain-policy (param $to i32)
        (call $record (i32.const 83) (i32.const 697) (i32.const 12))
        (call $table (local.get $to))
        (call $hook (i32.add (local.get $to) (i32.const 1)))
        (call $families (i32.add (local.get $to) (i32.const 2)))
        (call $verdict (i32.add (local.get $to) (i32.const 3))))

    (func $list-of-chain-policy (param $to i32) (local $one i32)
        (local.set $one (call $list (local.get $to) (i32.const 4) (i32.const 697) (i32.const 12)))
        (block $end
            (loop $elements
                (br_if $end (i32.eqz (call $another)))
                (call $chain-policy (local.get $one))
                (local.set $one (i32.add (local.get $one) (i32.const 4)))
                (call $next)
                (br $elements)))
        (call $listed))

    (func $contribution (param $to i32)
        (call $record (i32.const 84) (i32.const 302) (i32.const 12))
        (call $list-of-chain (local.get $to))
        (call $list-of-attachment (i32.add (local.get $to) (i32.const 8)))
        (call $list-of-address-set (i32.add (local.get $to) (i32.const 16)))
        (call $list-of-chain-policy (i32.add (local.get $to) (i32.const 24))))

    (func $problem (param $to i32)
        (call $record (i32.const 85) (i32.const 716) (i32.const 7))
        (call $string (local.get $to))
        (call $string (i32.add (local.get $to) (i32.const 8))))

    (func $failure (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 709) (i32.const 7)) (i32.const 86)))
        (if (i32.ge_u (local.get $case) (i32.const 4)) (then (call $refuse (i32.const 709) (i32.const 7))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 0))
            (then (call $problem (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 1))
            (then (call $problem (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 2))
            (then (call $string (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 3))
            (then (call $string (i32.add (local.get $to) (i32.const 4))) (return))))

    (func $evaluate-answer (param $to i32) (local $case i32)
        (local.set $case (i32.sub (call $object (i32.const 287) (i32.const 15)) (i32.const 0)))
        (if (i32.ge_u (local.get $case) (i32.const 2)) (then (call $refuse (i32.const 287) (i32.const 15))))
        (i32.store8 (local.get $to) (local.get $case))
        (if (i32.eq (local.get $case) (i32.const 0))
            (then (call $contribution (i32.add (local.get $to) (i32.const 4))) (return)))
        (if (i32.eq (local.get $case) (i32.const 1))
            (then (call $failure (i32.add (local.get $to) (i32.const 4))) (return))))
)
