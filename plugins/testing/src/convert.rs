//! Words of the contract that have one word each in the rule model.

use ruleward_core::{names, rule};
use ruleward_sdk as sdk;

/// A function from each case of one enum to the case of the same name of another.
macro_rules! same {
    ($name:ident: $from:ty => $to:ty { $($case:ident),+ $(,)? }) => {
        pub fn $name(value: $from) -> $to {
            match value { $(<$from>::$case => <$to>::$case,)+ }
        }
    };
}

same!(table: sdk::Table => names::Table { Raw, Mangle, Nat, Filter, Security });
same!(hook: sdk::Hook => names::Hook { Prerouting, Input, Forward, Output, Postrouting });
same!(placement: sdk::Placement => names::Placement { First, Last });
same!(family: sdk::Family => names::Family { Ipv4, Ipv6 });
same!(direction: sdk::Direction => rule::Direction { Source, Destination });
same!(rate_unit: sdk::RateUnit => rule::RateUnit { Second, Minute, Hour, Day });
same!(address_type: sdk::AddressType => rule::AddressType {
    Unspec, Unicast, Local, Broadcast, Anycast, Multicast, Blackhole, Unreachable, Prohibit,
});
same!(address_type_limit: sdk::AddressTypeLimit => rule::AddressTypeLimit { AnyInterface, InInterface, OutInterface });
same!(reject: sdk::RejectKind => rule::RejectKind {
    PortUnreachable, HostUnreachable, NetUnreachable, AdminProhibited, ProtocolUnreachable, TcpReset,
});
same!(log_level: sdk::LogLevel => rule::LogLevel {
    Emergency, Alert, Critical, Error, Warning, Notice, Info, Debug,
});
