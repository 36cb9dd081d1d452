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
    (global $free (mut i32) (i32.const @FREE@))
    ;; What is read next, and the end of what is packed.
    (global $at (mut i32) (i32.const 0))
    (global $end (mut i32) (i32.const 0))
    (data (i32.const 256) "@NAMES@")

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
                (call $say (i32.const @SPACE@))
                ;; Counted from 1, as the host does.
                (call $say-number
                    (i32.sub
                        (i32.add (i32.load offset=8 (local.get $list)) (i32.const 1))
                        (i32.load offset=12 (local.get $list))))
                (call $say (i32.const @COLON@))
                (local.set $list (i32.add (local.get $list) (i32.const 16)))
                (br $lists)))
        (call $say (local.get $what) (local.get $length))
        (call $say (i32.const @EXPECTED@))
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
            (then (call $refuse (i32.const @MORE@))))
        (global.get $at)
        (global.set $at (i32.add (global.get $at) (local.get $bytes))))

    (func $byte (result i32) (i32.load8_u (call $take (i32.const 1))))

    ;; A length. Each element takes a byte at least.
    (func $count (result i32)
        (local $count i32)
        (local.set $count (i32.load (call $take (i32.const 4))))
        (if (i32.gt_u (local.get $count) (i32.sub (global.get $end) (global.get $at)))
            (then (call $refuse (i32.const @MORE@))))
        (local.get $count))

    ;; Whether it is None, which is then read.
    (func $none (result i32)
        (if (i32.eq (global.get $at) (global.get $end)) (then (call $refuse (i32.const @MORE@))))
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
        (local.set $value (call $integer (i32.const @U8@)))
        (if (i64.gt_u (local.get $value) (i64.const 0xff)) (then (call $refuse (i32.const @U8@))))
        (i64.store8 (local.get $to) (local.get $value)))

    (func $u16 (param $to i32)
        (local $value i64)
        (local.set $value (call $integer (i32.const @U16@)))
        (if (i64.gt_u (local.get $value) (i64.const 0xffff)) (then (call $refuse (i32.const @U16@))))
        (i64.store16 (local.get $to) (local.get $value)))

    (func $u32 (param $to i32)
        (local $value i64)
        (local.set $value (call $integer (i32.const @U32@)))
        (if (i64.gt_u (local.get $value) (i64.const 0xffffffff)) (then (call $refuse (i32.const @U32@))))
        (i64.store32 (local.get $to) (local.get $value)))

    (func $s32 (param $to i32)
        (local $value i64)
        (local.set $value (call $integer (i32.const @S32@)))
        (if (i64.ne (local.get $value) (i64.extend32_s (local.get $value))) (then (call $refuse (i32.const @S32@))))
        (i64.store32 (local.get $to) (local.get $value)))

    (func $bool (param $to i32)
        (local $kind i32)
        (local.set $kind (call $byte))
        (i32.store8 (local.get $to) (i32.eq (local.get $kind) (i32.const 0x54))) ;; T
        (if (i32.eqz (i32.or (i32.eq (local.get $kind) (i32.const 0x54)) (i32.eq (local.get $kind) (i32.const 0x46)))) ;; F
            (then (call $refuse (i32.const @BOOL@)))))

    ;; Stays where it is.
    (func $string (param $to i32)
        (local $length i32)
        (if (i32.ne (call $byte) (i32.const 0x75)) ;; u
            (then (call $refuse (i32.const @STRING@))))
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
        (local.set $count (call $elements (i32.const @LIST@)))
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
@ANSWERS@
    ;; ---------------------------------------------------------------- the contract's types
@TYPES@)
