//! What is written is read back the same, in every form.

use crate::support::{
    Member, archive_with, docker_archive_of, file_of, layers_of, members_of, names, open, options,
    options_of, tar_of,
};
use nixply_layout::{
    ImageForm, OpenedImage, WriteReport, write_archive, write_docker_archive, write_oci_dir,
};
use nixply_oci::{Image, ImageSource, MediaType};
use nixply_testkit::images::{TestImage, TestLayer};
use proptest::prelude::*;
use std::io::Write;

fn any_layer() -> impl Strategy<Value = TestLayer> {
    // Few different contents, so that layers repeat; some longer than a block of memory or of a tar.
    let content = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(0..3_u8, 0..3),
        (0..200_000_usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    (content, 0..3, any::<bool>()).prop_map(|(content, compression, is_known)| {
        let layer = match compression {
            0 => TestLayer::plain(&content),
            1 => TestLayer::gzip(&content),
            _ => TestLayer::zstd(&content),
        };
        if is_known {
            layer.known_beforehand()
        } else {
            layer
        }
    })
}

fn check_oci(opened: &OpenedImage, report: &WriteReport, layers: &[TestLayer]) {
    let image = opened.image();
    assert_eq!(opened.form(), ImageForm::OciLayout);
    assert_eq!(image.manifest_descriptor.digest, report.manifest_digest);
    assert_eq!(image.manifest.config.digest, report.config_digest);
    let blobs: Vec<_> = layers.iter().map(|layer| layer.blob().to_vec()).collect();
    assert!(layers_of(opened) == blobs, "the layers differ");
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.record().diff_id).collect();
    assert_eq!(image.config.rootfs.diff_ids, diff_ids);
    let records: Vec<_> = report.layers.iter().map(|layer| &layer.record).collect();
    assert_eq!(
        records,
        layers.iter().map(TestLayer::record).collect::<Vec<_>>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_form_gives_back_the_layers(
        layers in proptest::collection::vec(any_layer(), 0..6),
        jobs in 0..5_usize,
        memory_budget_bytes in prop_oneof![Just(0_u64), Just(100_000), Just(1 << 30)],
    ) {
        let image = TestImage::new(layers.clone());
        let options = options_of(jobs, memory_budget_bytes);
        let app = names(&["example.org/app:1"]);

        let mut tar = Vec::new();
        let report = write_archive(&image, &app, &mut tar, &options, &()).unwrap();
        let (_guard, path) = file_of(&tar);
        check_oci(&open(&path).unwrap(), &report, &layers);

        let dir = tempfile::tempdir().unwrap();
        let layout = dir.path().join("layout");
        let dir_report = write_oci_dir(&image, &app, &layout, &options, &()).unwrap();
        prop_assert_eq!(&dir_report, &report);
        check_oci(&open(&layout).unwrap(), &report, &layers);

        let mut tar = Vec::new();
        let docker_report = write_docker_archive(&image, &app, &mut tar, &options, &()).unwrap();
        prop_assert_eq!(docker_report.config_digest, report.config_digest);
        let (_guard, path) = file_of(&tar);
        let opened = open(&path).unwrap();
        prop_assert_eq!(opened.form(), ImageForm::DockerArchive);
        prop_assert_eq!(opened.image().manifest.config.digest, report.config_digest);
        for (bytes, layer) in layers_of(&opened).iter().zip(&layers) {
            prop_assert_eq!(nixply_oci::DiffId::of(bytes), layer.record().diff_id);
        }
    }
}

#[test]
fn an_archive_that_is_compressed_as_a_whole_is_read() {
    let layer = TestLayer::gzip(b"tar");
    let image = TestImage::new(vec![layer.clone()]);
    let (tar, report) = archive_with(&image, &["a:1"], &options()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    // Two members and two frames, as parallel compressors make them.
    let mut gzip = gzip.finish().unwrap();
    let (start, end) = tar.split_at(1000);
    let mut members = Vec::new();
    let mut frames = Vec::new();
    for part in [start, end] {
        let mut encoder = flate2::write::GzEncoder::new(members, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        members = encoder.finish().unwrap();
        frames.extend(zstd::encode_all(part, 1).unwrap());
    }
    for compressed in [&gzip, &members, &frames] {
        let (_guard, path) = file_of(compressed);
        let opened = open(&path).unwrap();
        check_oci(&opened, &report, std::slice::from_ref(&layer));
    }
    gzip.truncate(gzip.len() / 2);
    let (_guard, path) = file_of(&gzip);
    let error = open(&path).unwrap_err();
    assert!(
        matches!(error, nixply_layout::LayoutError::Archive { .. }),
        "{error}"
    );
}

#[test]
fn a_docker_archive_gets_layers_of_several_members_and_frames_uncompressed() {
    let tar = [b"one".as_slice(), b"two"].concat();
    let members = [TestLayer::gzip(b"one"), TestLayer::gzip(b"two")];
    let gzip = [members[0].blob(), members[1].blob()].concat();
    let frames = [TestLayer::zstd(b"one"), TestLayer::zstd(b"two")];
    let zstd = [frames[0].blob(), frames[1].blob()].concat();
    for (media_type, blob) in [
        (MediaType::OciLayerTarGzip, gzip),
        (MediaType::OciLayerTarZstd, zstd),
    ] {
        let image = TestImage::new(vec![TestLayer::of_bytes(media_type, &tar, blob)]);
        let archive = docker_archive_of(&image, &[]);
        assert_eq!(members_of(&archive)[0].1, tar);
    }
}

#[test]
fn the_forms_of_other_tools_are_read() {
    let plain = TestLayer::plain(b"the plain tar");
    let gzip = TestLayer::gzip(b"another tar");
    let image = TestImage::new(vec![plain.clone(), gzip.clone(), plain.clone()]);
    let records = [plain.record(), gzip.record(), plain.record()].map(Clone::clone);
    let finished = image.finish(&records).unwrap();
    let config_name = format!("{}.json", finished.config_descriptor.digest.hex());
    // As Docker before 25 and skopeo do it: `<id>/layer.tar`, links to `<diff ID>.tar`, names beginning with `./`.
    let diff_id_name = format!("{}.tar", plain.record().diff_id.hex());
    let manifest = format!(
        r#"[{{"Config":"{config_name}","RepoTags":null,"Layers":["{diff_id_name}","id2/layer.tar","id3/layer.tar"]}}]"#
    );
    let link = format!("../{diff_id_name}");
    for third in [
        Member::Symlink("id3/layer.tar", &link),
        Member::HardLink("id3/layer.tar", &diff_id_name),
    ] {
        let tar = tar_of(&[
            Member::File(&diff_id_name, plain.blob()),
            Member::File("id2/layer.tar", gzip.blob()),
            third,
            Member::File(&format!("./{config_name}"), &finished.config),
            Member::File("manifest.json", manifest.as_bytes()),
        ]);
        let (_guard, path) = file_of(&tar);
        let opened = open(&path).unwrap();
        assert_eq!(opened.form(), ImageForm::DockerArchive);
        assert_eq!(
            layers_of(&opened),
            [plain.blob(), gzip.blob(), plain.blob()]
        );
        let layers = &opened.image().manifest.layers;
        assert_eq!(layers[1].media_type, MediaType::OciLayerTarGzip);
        assert_eq!(layers[1].digest, gzip.record().digest.into());
        assert_eq!(layers[2], layers[0]);
    }
}
