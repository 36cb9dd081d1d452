//! Felix's identifiers: a chained SHA-224 over the name of the chain and the text of each rule, so that an identifier
//! stands for the rule, its place and all rules before it.

use sha2::{Digest, Sha224};

/// Characters of an identifier.
const LENGTH: usize = 16;
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Gives the rules of one chain their identifiers, from the first on.
#[derive(Debug)]
pub struct Identifiers<'a> {
    chain: &'a str,
    state: [u8; 28],
}

impl<'a> Identifiers<'a> {
    /// Before the first rule of `chain`. Rules appended to a built-in chain have a chain name of their own:
    /// `POSTROUTING*appends*`.
    pub fn of_chain(chain: &'a str) -> Self {
        Self { chain, state: Sha224::digest(chain.as_bytes()).into() }
    }

    /// The comment of the next rule, whose text is `fragment`.
    pub fn comment(&mut self, fragment: &str) -> String {
        let text = format!("-A {} HASH {fragment}", self.chain);
        self.state = Sha224::new().chain_update(self.state).chain_update(text.as_bytes()).finalize().into();
        format!("cali:{}", base64_url(&self.state))
    }
}

/// The first characters of the encoding: three bytes make four characters.
fn base64_url(bytes: &[u8; 28]) -> String {
    let sextets = bytes.chunks_exact(3).flat_map(|chunk| match chunk {
        [a, b, c] => [a >> 2, a << 4 | b >> 4, b << 2 | c >> 6, *c],
        _ => [0; 4],
    });
    sextets.take(LENGTH).map(|sextet| char::from(BASE64_URL[usize::from(sextet & 63)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_those_that_felix_writes() {
        let mut chain = Identifiers::of_chain("cali-POSTROUTING");
        let tunnel = "--out-interface tunl0 -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL \
                      --jump MASQUERADE --random-fully";
        assert_eq!(chain.comment("--jump cali-fip-snat"), "cali:Z-c7XtVd2Bq7s_hA");
        assert_eq!(chain.comment("--jump cali-nat-outgoing"), "cali:nYKhEzDlr11Jccal");
        assert_eq!(chain.comment(tunnel), "cali:SXWvdsbh4Mw7wOln");
    }

    #[test]
    fn an_appended_jump_has_another_identifier_than_an_inserted_one() {
        let jump = "--jump cali-POSTROUTING";
        assert_eq!(Identifiers::of_chain("POSTROUTING*appends*").comment(jump), "cali:0i8pjzKKPyA34aQD");
        assert_eq!(Identifiers::of_chain("POSTROUTING").comment(jump), "cali:O3lYWMrLQYEMJtB5");
    }

    /// From a node that ran Felix v3.16.4 (projectcalico/calico issue 5251): addresses stand without a prefix length.
    #[test]
    fn floating_ips_are_identified_without_a_prefix_length() {
        let rule =
            "--destination 10.141.53.60 --source 10.141.53.60 --jump SNAT --to-source 206.53.233.199 --random-fully";
        assert_eq!(Identifiers::of_chain("cali-fip-snat").comment(rule), "cali:MO-y51Ss2yRNuvtd");
    }
}
