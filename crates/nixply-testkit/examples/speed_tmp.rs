//! tmp
use nixply_testkit::{closures::*, fitted::*};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: usize = a[2].parse().unwrap();
    let m: usize = a[3].parse().unwrap();
    let p = if a[1] == "fitted" {
        fitted_paths(1, n, m)
    } else {
        random_paths(1, n, m)
    };
    if a.len() > 4 && a[4] == "json" {
        print!("{}", path_info_json(&p));
    } else {
        print!("[");
        for (k, x) in p.iter().enumerate() {
            if k > 0 {
                print!(",");
            }
            print!("{:?}", x.references);
        }
        println!("]");
    }
}
