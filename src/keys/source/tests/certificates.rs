//! Keys in certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use super::*;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[test]
fn the_key_of_a_certificate_is_used_even_after_it_expired() {
    let key = KeyPair::generate().unwrap();
    let mut params = params("idp");
    let valid = params.clone().self_signed(&key).unwrap();
    assert_eq!(load_bytes(valid.pem()).notices, []);
    params.not_after = date_time_ymd(2001, 1, 1);
    params.not_before = date_time_ymd(2000, 1, 1);
    let loaded = load_bytes(params.self_signed(&key).unwrap().pem());
    assert!(
        warning(&loaded).contains("is valid from Jan  1"),
        "{}",
        warning(&loaded)
    );
    assert_eq!(kids(&sound(loaded)), [Some("key")]);
}

#[test]
fn of_a_chain_only_the_first_certificate_is_a_key() {
    let mut ca = params("ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params("leaf").signed_by(&key, &ca).unwrap();
    let loaded = load_bytes(format!("{}{}", leaf.pem(), ca.pem()));
    assert!(warning(&loaded).contains("its key is not used"));
    let only_leaf = sound(load_bytes(leaf.pem()));
    let thumbprint = only_leaf.find("key").unwrap().thumbprint();
    assert_eq!(sound(loaded).find("key").unwrap().thumbprint(), thumbprint);
}
