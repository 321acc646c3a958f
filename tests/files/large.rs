//! "Must show" 5: a large file up and down, through a cut each way, in little memory, with equal checksums. 64 MiB here;
//! `O365_AGENT_FILE_MIB=1024` runs it at full size.

use o365_sandbox::FaultAction;
use serde_json::json;

use crate::support::tenant;
use crate::transfer::{MIB, agent, expect_no_token_given_away, files, inject, run, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_goes_up_and_down_in_constant_memory() {
    let size =
        std::env::var("O365_AGENT_FILE_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(64usize);
    let length = (size * MIB) as u64;
    let sandbox = tenant();
    let agent = agent(&sandbox);
    agent.await_state("mail", "ok").await;
    let told = sandbox.put_generated_file(&sandbox.first_user().upn, "large.bin", length);
    let idle = agent.memory_kib("VmRSS");

    // Down into a local file.
    inject(&sandbox, "GET", 1, FaultAction::CutMidBody((length / 2) as usize));
    let began = std::time::Instant::now();
    let got = run(&agent, "DownloadFile", json!({"Path": "large.bin", "LocalFile": "large.bin"})).await;
    let into_file = began.elapsed();
    assert_eq!(
        (got["Size"].as_u64(), got["Verified"].as_str()),
        (Some(length), Some("quickXorHash")),
        "{got}"
    );
    assert_eq!(std::fs::metadata(files(&agent).join("large.bin")).unwrap().len(), length);

    // Up from it.
    inject(&sandbox, "PUT", 1, FaultAction::CutUpload(MIB));
    let began = std::time::Instant::now();
    let made = run(&agent, "UploadFile", json!({"LocalFile": "large.bin", "FileName": "copy.bin"})).await;
    let up = began.elapsed();
    assert_eq!(
        (made["Size"].as_u64(), made["Verified"].as_str()),
        (Some(length), Some("quickXorHash")),
        "{made}"
    );
    let stored = crate::transfer::graph(&sandbox, "me/drive/root:/copy.bin?$select=file,size").await;
    assert_eq!(stored["file"]["hashes"]["quickXorHash"], told["quickXorHash"], "{stored}");

    // Down as a stream.
    inject(&sandbox, "GET", 1, FaultAction::CutMidBody((length / 3) as usize));
    let began = std::time::Instant::now();
    let mut response = stream(&agent, "DownloadFile", json!({"Path": "copy.bin"})).await;
    let mut received = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        received += piece.len() as u64;
    }
    let streamed = began.elapsed();
    assert_eq!(received, length);

    let over = agent.memory_kib("VmHWM").saturating_sub(idle);
    let speed = |time: std::time::Duration| size as f64 / time.as_secs_f64();
    eprintln!(
        "{size} MiB: {over} KiB over idle {idle} KiB; into a file {:.0} MiB/s, up {:.0} MiB/s, as a stream {:.0} MiB/s",
        speed(into_file),
        speed(up),
        speed(streamed)
    );
    assert!(over <= 32 * 1024, "{over} KiB over idle {idle} KiB");
    expect_no_token_given_away(&sandbox);
}
