//! Several nodes on one PostgreSQL, and one simulated WeChat.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use rand::RngExt;

use super::{APPID, CHANNEL, Client, Database, Process, SECRET, Wechat, create_app};

/// Where callers find nodes: what a load balancer knows.
#[derive(Clone)]
pub struct Roster(Arc<Mutex<Vec<Option<Client>>>>);

impl Roster {
    /// Some node that is believed to be there.
    pub fn any(&self) -> Client {
        let nodes = self.0.lock().unwrap();
        let there: Vec<&Client> = nodes.iter().flatten().collect();
        (*there[rand::rng().random_range(0..there.len())]).clone()
    }

    fn set(&self, number: usize, client: Option<Client>) {
        self.0.lock().unwrap()[number] = client;
    }
}

/// One node: its process while it runs, and a client of it.
pub struct Node {
    process: Option<Process>,
    pub client: Client,
}

pub struct Cluster {
    pub database: Database,
    pub wechat: Wechat,
    pub nodes: Vec<Node>,
    pub roster: Roster,
    key: String,
}

impl Cluster {
    /// Starts so many nodes and sets the channel up through the first.
    pub async fn start(database: Database, count: usize) -> Self {
        assert!(database.is_postgres(), "several nodes need PostgreSQL");
        let wechat = Wechat::start().await;
        let key = create_app(&database, &["app", "create", "shop", "--json"]);
        let roster = Roster(Arc::new(Mutex::new(vec![None; count])));
        let mut cluster = Self { database, wechat, nodes: Vec::new(), roster, key };
        for number in 0..count {
            let (process, url) = Process::serve(&cluster.database, &cluster.wechat).await;
            let client = Client::new(&url, &cluster.key);
            cluster.roster.set(number, Some(client.clone()));
            cluster.nodes.push(Node { process: Some(process), client });
        }
        cluster.add_channel(0, CHANNEL, APPID).await;
        cluster
    }

    /// Registers a channel through one node and reads its template list.
    pub async fn add_channel(&self, number: usize, code: &str, appid: &str) {
        let client = &self.nodes[number].client;
        let channel = serde_json::json!({ "code": code, "name": "Bakery", "appid": appid, "secret": SECRET });
        client.post("/channels", &channel).await.expect_status(201);
        let refresh = format!("/channels/{code}/templates/refresh");
        client.post(&refresh, &serde_json::json!({})).await.expect_status(200);
    }

    /// Callers are sent elsewhere; the node itself goes on.
    pub fn take_out(&self, number: usize) {
        self.roster.set(number, None);
    }

    /// Callers are sent to the node again.
    pub fn put_back(&self, number: usize) {
        self.roster.set(number, Some(self.nodes[number].client.clone()));
    }

    /// Kills a node without warning. Callers notice by themselves, until they are told.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.nodes[number].process.take() {
            process.kill();
        }
        self.take_out(number);
    }

    /// Starts a killed node again.
    pub async fn restart(&mut self, number: usize) {
        let (process, url) = Process::serve(&self.database, &self.wechat).await;
        let node = &mut self.nodes[number];
        node.client.moved(&url);
        node.process = Some(process);
        self.put_back(number);
    }

    /// Stops a node in the middle of whatever it does (SIGSTOP): it keeps its memory and its connections.
    pub fn freeze(&self, number: usize) {
        self.take_out(number);
        self.signal(number, "-STOP");
    }

    /// Lets a stopped node go on as if nothing had been (SIGCONT).
    pub fn thaw(&self, number: usize) {
        self.signal(number, "-CONT");
        self.put_back(number);
    }

    fn signal(&self, number: usize, signal: &str) {
        let process = self.nodes[number].process.as_ref().expect("the node runs");
        assert!(Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success());
    }
}
